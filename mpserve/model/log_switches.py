"""What the log writes, as Triton's logging extension tells and changes it while the server runs."""

import msgspec


class LogSwitches(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines are written, and how they look.

    Attributes
    ----------
    verbose_level
        1 or more: also what only a developer needs.
    log_format, log_file
        As the flags of these names.
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


def switched(switches: LogSwitches, change: LogChange) -> LogSwitches:
    """Return the switches after a change."""
    wanted = msgspec.structs.asdict(change)
    given = {name: value for name, value in wanted.items() if value is not None}
    return msgspec.structs.replace(switches, **given)
