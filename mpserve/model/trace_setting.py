"""What is traced, as Triton's trace extension tells and changes it while the server runs."""

import msgspec
from msgspec import UNSET, UnsetType


class TraceSetting(msgspec.Struct, frozen=True, kw_only=True):
    """Trace setting of the server or of a model.

    Attributes
    ----------
    levels
        Empty: nothing is traced.
    rate
        One of so many requests is traced.
    count
        How many more traces are made; -1 for any number.
    log_frequency
        Traces to a file; 0 for one file.
    """

    levels: tuple[str, ...] = ()
    rate: int = 1000
    count: int = -1
    log_frequency: int = 0


class TraceChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants otherwise; `None` goes back to what holds without it."""

    levels: tuple[str, ...] | UnsetType | None = UNSET
    rate: int | UnsetType | None = UNSET
    count: int | UnsetType | None = UNSET
    log_frequency: int | UnsetType | None = UNSET


class TraceOverride(msgspec.Struct, frozen=True, kw_only=True):
    """What was set otherwise than below it; `None` where nothing was."""

    levels: tuple[str, ...] | None = None
    rate: int | None = None
    count: int | None = None
    log_frequency: int | None = None


def overridden(setting: TraceSetting, override: TraceOverride) -> TraceSetting:
    """Return the setting that holds when `override` lies above `setting`."""
    said = msgspec.structs.asdict(override)
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(setting, **given)


def changed(override: TraceOverride, change: TraceChange) -> TraceOverride:
    """Return the override after a change."""
    wanted = msgspec.structs.asdict(change)
    given = {name: value for name, value in wanted.items() if value is not UNSET}
    return msgspec.structs.replace(override, **given)
