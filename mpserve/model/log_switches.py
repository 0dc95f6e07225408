"""What the log writes, as Triton's logging extension tells and changes it while the server runs."""

import enum

import msgspec


class LogLevel(enum.Enum):
    """How severe a line is, mildest first. Each level has a switch of its own."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.Enum):
    """How a log line looks."""

    DEFAULT = "default"
    """For a person at a terminal, local time."""
    ISO8601 = "ISO8601"
    """The same with UTC timestamps in ISO 8601 form (Triton's word)."""
    JSON = "json"
    """One JSON object a line."""


class LogSwitches(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines are written, and how they look.

    Attributes
    ----------
    verbose_level
        1 or more: also what only a developer needs.
    log_format
        A value of `LogFormat`.
    log_file
        As the flag of this name; told, never changed.
    """

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose_level: int = 0
    log_format: str = "default"
    log_file: str = ""


class LogChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants otherwise; `None` leaves a switch as it is."""

    info: bool | None = None
    warning: bool | None = None
    error: bool | None = None
    verbose_level: int | None = None
    log_format: str | None = None


def written_levels(switches: LogSwitches) -> frozenset[LogLevel]:
    """Return the levels whose lines are written."""
    wanted = {
        LogLevel.DEBUG: switches.verbose_level > 0,
        LogLevel.INFO: switches.info,
        LogLevel.WARNING: switches.warning,
        LogLevel.ERROR: switches.error,
    }
    return frozenset(level for level, is_on in wanted.items() if is_on)


def switched(switches: LogSwitches, change: LogChange) -> LogSwitches:
    """Return the switches after a change."""
    wanted = msgspec.structs.asdict(change)
    given = {name: value for name, value in wanted.items() if value is not None}
    return msgspec.structs.replace(switches, **given)
