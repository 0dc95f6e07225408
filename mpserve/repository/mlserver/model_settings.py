"""MLServer's `model-settings.json` as Structs. Pure: text in, Structs out.

What a file says wins over `MLSERVER_MODEL_*`, which fill what it leaves out; so does MLServer 1.7
(the file's values are the arguments of the settings' constructor). Fields it does not know are
dropped, but kept in `parameters`.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from mpserve.errors import RepositoryError
from mpserve.settings.environment import MODEL_PREFIX

Json = dict[str, object]

DatatypeName = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]


class MetadataTensor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A declared input or output."""

    name: str
    datatype: DatatypeName
    shape: tuple[int, ...]
    parameters: Json | None = None


class ModelParameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`parameters` of a model; more of them are allowed and kept for the model."""

    uri: str | None = None
    version: str | None = None
    environment_path: str | None = None
    environment_tarball: str | None = None
    inference_pool_gid: str | None = None
    autogenerate_inference_pool_gid: bool = False
    format: str | None = None
    content_type: str | None = None
    extra: Json | None = {}


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`model-settings.json`."""

    implementation: str
    name: str = ""
    platform: str = ""
    versions: tuple[str, ...] = ()
    inputs: tuple[MetadataTensor, ...] = ()
    outputs: tuple[MetadataTensor, ...] = ()
    parallel_workers: int | None = None
    warm_workers: bool = False
    max_batch_size: int = 0
    max_batch_time: float = 0.0
    parameters: ModelParameters | None = None
    cache_enabled: bool = False


class ReadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and their JSON text with the environment and unknown parameters in it.

    Attributes
    ----------
    unknown
        Fields of the file that are none of the settings', in its order.
    """

    settings: ModelSettings
    settings_json: str
    unknown: tuple[str, ...] = ()


def parse_model_settings(
    text: bytes, *, path: str, environment: Mapping[str, str], folder_name: str
) -> ReadSettings:
    """Parse a `model-settings.json`.

    Parameters
    ----------
    text
        Content of the file; `b"{}"` for a model that is described by the environment alone.
    path
        Where it is from; for the message only.
    environment
        `MLSERVER_MODEL_*` by full name, in any case.
    folder_name
        Name of a model that has none.

    Raises
    ------
    RepositoryError
        When it is no JSON object, or a field is missing or of the wrong type.
    """
    try:
        said = msgspec.json.decode(text, type=Json)
        fields = _overlay(environment, ModelSettings) | said
        parameters = fields.get("parameters")
        given: Json = parameters if isinstance(parameters, dict) else {}
        if parameters is None or isinstance(parameters, dict):
            fields["parameters"] = _overlay(environment, ModelParameters) | given
        settings = msgspec.convert(fields, ModelSettings, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise RepositoryError(f"failed to load model settings at {path}: {error}") from error
    if not settings.name:
        settings = msgspec.structs.replace(settings, name=folder_name)
    return ReadSettings(
        settings=settings,
        settings_json=_encode(settings, given),
        unknown=tuple(name for name in said if name not in _MODEL_FIELDS),
    )


_MODEL_FIELDS: Final = frozenset(ModelSettings.__struct_fields__) | {"$schema"}


def _overlay(environment: Mapping[str, str], struct: type[msgspec.Struct]) -> Json:
    """Return the fields of `struct` that the environment has; those that are no scalars as JSON."""
    by_name = {name.upper(): value for name, value in environment.items()}
    return {
        field.name: _value(by_name[f"{MODEL_PREFIX}{field.name.upper()}"], name=field.name)
        for field in msgspec.structs.fields(struct)
        if f"{MODEL_PREFIX}{field.name.upper()}" in by_name
    }


def _value(text: str, *, name: str) -> object:
    return msgspec.json.decode(text) if name in _JSON_FIELDS else text


_JSON_FIELDS: Final = frozenset({"inputs", "outputs", "versions", "parameters", "extra"})


def _encode(settings: ModelSettings, given: Json) -> str:
    """Return JSON text without defaults, with the parameters that have no field here."""
    fields: Json = msgspec.to_builtins(settings)
    known = msgspec.to_builtins(settings.parameters) if settings.parameters else {}
    names = {field.name for field in msgspec.structs.fields(ModelParameters)}
    more = {name: value for name, value in given.items() if name not in names}
    fields["parameters"] = known | more
    return msgspec.json.encode(fields, order="deterministic").decode()
