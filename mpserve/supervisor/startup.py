"""What is loaded before the first port is opened, and whether that is enough to go on.

Source: Triton's start: a model that fails ends the server, unless `--exit-on-error=false`.
"""

import asyncio
from typing import Final

import msgspec

from mpserve.errors import Failure
from mpserve.model.definition import ModelDefinition
from mpserve.model.event import Origin
from mpserve.model.identity import ModelName
from mpserve.repository import Refusal, ScanResult
from mpserve.settings import ModelControlMode, Settings
from mpserve.supervisor.repository_api import RepositoryApi
from mpserve.supervisor.repository_view import RepositoryView
from mpserve.supervisor.supervisor import Supervisor
from mpserve.telemetry import log

ALL_MODELS: Final = "*"
NOT_ALL_LOADED: Final = "Internal - failed to load all models"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """How the start went.

    Attributes
    ----------
    first
        Scan that the start worked with; `None` when none was needed.
    failure
        Why the server should not go on, in the words after `error: creating server: `; "" when it
        should.
    is_live
        The repositories could be read at all.
    """

    first: ScanResult | None
    failure: str = ""
    is_live: bool = True


async def load_at_start(
    *, supervisor: Supervisor, view: RepositoryView, api: RepositoryApi, settings: Settings
) -> Loaded:
    """Load what the control mode says, and wait until every model has loaded or failed."""
    names = settings.load_models
    if settings.model_control_mode is ModelControlMode.EXPLICIT and names != (ALL_MODELS,):
        return await _load_named(names, api=api)
    result = view.scan_now()
    if result.unreadable_roots:
        reason = next(iter(result.unreadable_roots.values())).message
        log.error("repository.unreadable", reason=reason)
        return Loaded(first=result, failure=f"Internal - {reason}", is_live=False)
    failed = await _load_all(result, supervisor=supervisor)
    return Loaded(first=result, failure=NOT_ALL_LOADED if failed else "")


async def _load_named(names: tuple[str, ...], *, api: RepositoryApi) -> Loaded:
    failures = await asyncio.gather(*(api.load(name, origin=Origin.START) for name in names))
    failed = [failure for failure in failures if failure is not None]
    return Loaded(first=None, failure=NOT_ALL_LOADED if failed else "")


async def _load_all(result: ScanResult, *, supervisor: Supervisor) -> bool:
    """Load every model of the scan; true when one is not there at the end."""
    for name, failure in result.broken.items():
        log.error("model.unreadable", model=name, reason=failure.message)
        supervisor.events.refused(name, origin=Origin.START, why=failure.message)
        if isinstance(failure, Refusal):
            supervisor.refused(name, failure)
    for name, directories in result.duplicates.items():
        log.error("model.duplicated", model=name, directories=", ".join(directories))
    failures = await asyncio.gather(*_wishes(result.definitions, supervisor))
    return bool(result.broken or result.duplicates) or any(failures)


def _wishes(
    definitions: dict[ModelName, ModelDefinition], supervisor: Supervisor
) -> list["asyncio.Future[Failure | None]"]:
    return [
        supervisor.wish(name, definition, origin=Origin.START)
        for name, definition in definitions.items()
    ]
