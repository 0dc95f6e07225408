"""Rows of routing tables for tests."""

from mpserve.control.messages import ModelEntry, VersionEntry
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.identity import Generation, ModelName, Version
from mpserve.model.state import ModelState


def version(
    number: str,
    state: ModelState = ModelState.READY,
    *,
    generation: int = 1,
    queue: str = "",
    config: ModelConfig | None = None,
    config_json: str = "",
) -> VersionEntry:
    """Return a row of a version."""
    return VersionEntry(
        version=Version(number),
        state=state,
        reason="",
        generation=Generation(generation),
        queue_segment=queue,
        config=config or ModelConfig(),
        config_json=config_json,
    )


def model(
    name: str,
    *versions: VersionEntry,
    form: ConfigFormat = ConfigFormat.TRITON,
    settings_json: str = "",
    directory: str = "/nowhere",
    earlier: tuple[VersionEntry, ...] = (),
) -> ModelEntry:
    """Return a row of a model."""
    return ModelEntry(
        name=ModelName(name),
        format=form,
        runtime="python",
        directory=directory,
        settings_json=settings_json,
        versions=versions,
        earlier=earlier,
    )
