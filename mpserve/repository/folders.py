"""Which folders of a tree are models, and of which format. Pure.

Triton: each direct sub-directory of a root. MLServer: each folder with a `model-settings.json`, at
any depth, hidden folders left out. Where a folder could be both, the dialect's own format wins.
"""

import msgspec

from mpserve.model.definition import ConfigFormat
from mpserve.model.triton.normalization import BACKEND_RULES
from mpserve.repository.layout import (
    CONFIG_FILE,
    CUSTOM_CONFIGS,
    MODEL_SETTINGS_FILE,
    is_version_name,
)
from mpserve.repository.snapshot import Snapshot


class ModelFolder(msgspec.Struct, frozen=True, kw_only=True):
    """One folder that describes a model.

    Attributes
    ----------
    snapshot
        Of this folder, without the folders of other models in it.
    """

    format: ConfigFormat
    snapshot: Snapshot


def find_models(
    snapshot: Snapshot, *, own_format: ConfigFormat, config_name: str
) -> tuple[ModelFolder, ...]:
    """Find the models in a direct sub-directory of a root.

    Parameters
    ----------
    own_format
        Of the dialect being spoken.
    config_name
        Custom Triton configuration; "" for none.
    """
    settings = _settings_folders(snapshot)
    has_config = snapshot.has_file(CONFIG_FILE) or bool(
        config_name and snapshot.has_file(f"{CUSTOM_CONFIGS}/{config_name}.pbtxt")
    )
    if settings and not (has_config and own_format is ConfigFormat.TRITON):
        return tuple(_mlserver_folder(snapshot, folder, settings) for folder in settings)
    if has_config or own_format is ConfigFormat.TRITON or _has_model_file(snapshot):
        return (ModelFolder(format=ConfigFormat.TRITON, snapshot=snapshot),)
    return ()


def find_root_model(root: Snapshot, *, model_folders: frozenset[str]) -> tuple[ModelFolder, ...]:
    """Find the MLServer model that a root itself is, if it has a `model-settings.json`.

    Parameters
    ----------
    model_folders
        Absolute paths of the models below the root, which are not part of it.
    """
    if not root.has_file(MODEL_SETTINGS_FILE):
        return ()
    return (root_model(root, model_folders=model_folders),)


def root_model(root: Snapshot, *, model_folders: frozenset[str]) -> ModelFolder:
    """Return a root as an MLServer model, without the models below it."""
    start = f"{root.directory}/"
    below = frozenset(path.removeprefix(start) for path in model_folders if path.startswith(start))
    return ModelFolder(format=ConfigFormat.MLSERVER, snapshot=root.under("", without=below))


def _settings_folders(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the folders with settings, relative to the snapshot, "" for itself."""
    if snapshot.directory.rpartition("/")[2].startswith("."):
        return ()
    return tuple(
        stamp.path.removesuffix(MODEL_SETTINGS_FILE).removesuffix("/")
        for stamp in snapshot.files
        if stamp.path.rpartition("/")[2] == MODEL_SETTINGS_FILE
        and not any(part.startswith(".") for part in stamp.path.split("/"))
    )


def _mlserver_folder(snapshot: Snapshot, folder: str, settings: tuple[str, ...]) -> ModelFolder:
    start = f"{folder}/" if folder else ""
    below = frozenset(other for other in settings if other != folder and other.startswith(start))
    return ModelFolder(format=ConfigFormat.MLSERVER, snapshot=snapshot.under(folder, without=below))


_MODEL_FILES = frozenset(rule.file_name for rule in BACKEND_RULES)


def _has_model_file(snapshot: Snapshot) -> bool:
    """Tell whether a version directory holds a file that Triton would know."""
    paths = [*snapshot.directories, *(stamp.path for stamp in snapshot.files)]
    return any(
        is_version_name(version) and name in _MODEL_FILES
        for version, _, name in (path.partition("/") for path in paths)
    )
