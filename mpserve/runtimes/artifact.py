"""Where the file of a model lies, in a repository of either format."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

import msgspec

from mpserve.errors import LoadError
from mpserve.runtimes.protocol import LoadContext


class _Parameters(msgspec.Struct):
    uri: str | None = None


class _Settings(msgspec.Struct):
    """The part of `model-settings.json` that says where the model is."""

    parameters: _Parameters | None = None


def find_artifact(context: LoadContext, *, default_files: Sequence[str]) -> Path:
    """Return the file of a model.

    An MLServer model has it at `parameters.uri`, relative to its folder, or in its folder; a Triton
    model in its version directory under `default_model_filename`. In a folder, the first of
    `default_files` that is there is taken.

    Raises
    ------
    LoadError
        Nothing is there, or the URI is of another machine.
    """
    place = _place_in_settings(context) if context.settings_json else _place_in_config(context)
    if place.is_file():
        return place
    if not place.is_dir():
        raise LoadError(f"model '{context.model_name}': there is no file '{place}'")
    for name in default_files:
        if (place / name).is_file():
            return place / name
    raise LoadError(
        f"model '{context.model_name}': none of {', '.join(default_files)} lies in '{place}'"
    )


def _place_in_settings(context: LoadContext) -> Path:
    settings = msgspec.json.decode(context.settings_json, type=_Settings)
    uri = (settings.parameters.uri if settings.parameters else None) or "."
    parsed = urlparse(uri)
    if parsed.scheme not in {"", "file"}:
        raise LoadError(
            f"model '{context.model_name}': parameters.uri '{uri}' is not of this machine; copy the"
            " model beside its model-settings.json"
        )
    local = unquote(parsed.path) if parsed.scheme == "file" else uri
    return Path(context.model_directory, local)


def _place_in_config(context: LoadContext) -> Path:
    return Path(context.version_directory, context.config.default_model_filename)
