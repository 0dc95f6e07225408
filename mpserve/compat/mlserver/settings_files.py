"""Settings of the server and of models, read from a folder: as `mlserver.cli.serve` has it."""

import asyncio
import sys
from pathlib import Path
from typing import Final

from mpserve.compat.mlserver.settings import ModelParameters, ModelSettings, Settings

DEFAULT_SETTINGS_FILENAME: Final = "settings.json"
DEFAULT_MODEL_SETTINGS_FILENAME: Final = "model-settings.json"


async def load_settings(folder: str | None = None) -> tuple[Settings, list[ModelSettings]]:
    """Return the settings in a folder, and those of all models below it.

    The folder becomes the first place that modules are imported from.
    """
    return await asyncio.to_thread(_load_settings, folder)


def load_model_settings(model_settings_path: str) -> ModelSettings:
    """Return a model's settings, named after its folder and found in it where they do not say."""
    settings = ModelSettings.parse_file(model_settings_path)
    folder = Path(model_settings_path).parent
    settings.name = settings.name or folder.name
    settings.parameters = settings.parameters or ModelParameters()
    settings.parameters.uri = settings.parameters.uri or str(folder)
    return settings


def _load_settings(folder: str | None) -> tuple[Settings, list[ModelSettings]]:
    sys.path.insert(0, ".")
    if folder is None:
        return Settings(), []
    sys.path.insert(0, folder)
    path = Path(folder, DEFAULT_SETTINGS_FILENAME)
    settings = Settings.parse_file(path) if path.is_file() else Settings()
    settings.model_repository_root = folder
    found = sorted(Path(folder).rglob(DEFAULT_MODEL_SETTINGS_FILENAME))
    return settings, [load_model_settings(str(one)) for one in found]
