"""Our events as records of Python's `logging`, where the operator has set that up.

Guarantees
    What no handler of the operator's takes is written as without his settings. A handler that
    raises loses its record, not a request.
Assumes
    `log.configure` was called. Handlers of several processes may have the same file: those that
    append do not disturb each other, those that begin a file anew do, as with the peer.
Source
    MLServer 1.7.1: its logger is `mlserver`, in the server and beside models.
"""

import logging
import logging.config
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from mpserve.errors import ConfigError
from mpserve.model.log_switches import LogLevel, LogSwitches
from mpserve.model.logging_setup import LoggingSetup
from mpserve.telemetry import log
from mpserve.telemetry.log import Sink, event_text
from mpserve.telemetry.logging_bridge import fields_of

LOGGER: Final = "mlserver"
_NUMBERS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


class LoggingSink:
    """Writes events to a logger; each record has `event` and `fields` as attributes."""

    def __init__(self, logger: logging.Logger, lines: Sink) -> None:
        self._logger = logger
        self._lines = lines

    def writes(self, level: LogLevel) -> bool:
        """Return whether the logger takes records of `level`."""
        return self._logger.isEnabledFor(_NUMBERS[level])

    def switch(self, switches: LogSwitches) -> None:
        """Take what `switches` say for what no handler of the operator's takes."""
        self._lines.switch(switches)
        self._logger.setLevel(_lowest(self._lines))

    def write(self, level: LogLevel, event: str, fields: Mapping[str, object]) -> None:
        """Make the record of an event."""
        told = {"event": event, "fields": dict(fields)}
        try:
            self._logger.log(_NUMBERS[level], "%s", event_text(event, fields), extra=told)
        except Exception as error:  # noqa: BLE001  # any handler of the operator's
            self._lines.write(level, event, {**fields, "handler_error": repr(error)})


class UnclaimedLines(logging.Handler):
    """Handler of the root logger: writes what no other handler has."""

    def __init__(self, lines: Sink) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, if nobody else does."""
        if self._is_claimed(logging.getLogger(record.name)):
            return
        level = next(one for one, number in _LEVELS if record.levelno >= number)
        event = getattr(record, "event", None)
        if isinstance(event, str):
            self._lines.write(level, event, vars(record)["fields"])
            return
        try:
            fields = fields_of(record)
        except Exception:  # noqa: BLE001  # the model's own arguments: any __str__ may raise
            self.handleError(record)
            return
        self._lines.write(level, "library.logged", fields)

    def _is_claimed(self, logger: logging.Logger | None) -> bool:
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent
        return False


_LEVELS: Final = (
    (LogLevel.ERROR, logging.ERROR),
    (LogLevel.WARNING, logging.WARNING),
    (LogLevel.INFO, logging.INFO),
    (LogLevel.DEBUG, logging.NOTSET),
)


def divert_to_logging(settings: LoggingSetup) -> None:
    """Let the log of this process, and what its models log, go where `logging` is told.

    Raises
    ------
    ConfigError
        `logging` can not be set up so.
    """

    def diverted(lines: Sink) -> LoggingSink:
        root, logger = logging.getLogger(), logging.getLogger(LOGGER)
        root.handlers = [UnclaimedLines(lines)]
        root.setLevel(_lowest(lines))
        logger.setLevel(_lowest(lines))
        try:
            _configure(settings)
        except Exception as error:
            reason = f"{error}: {error.__cause__}" if error.__cause__ else f"{error}"
            raise ConfigError(f"logging_settings: {reason or repr(error)}") from error
        logger.disabled = False  # of loggers that it does not name, only this one is ours
        return LoggingSink(logger, lines)

    log.divert(diverted)


def _lowest(lines: Sink) -> int:
    return min(
        (_NUMBERS[level] for level in LogLevel if lines.writes(level)), default=logging.ERROR
    )


def _configure(settings: LoggingSetup) -> None:
    path = list(sys.path)
    sys.path[:0] = settings.folders
    try:
        if settings.config_json:
            logging.config.dictConfig(msgspec.json.decode(settings.config_json))
        else:
            logging.config.fileConfig(settings.ini_path, disable_existing_loggers=False)
    finally:
        sys.path[:] = path
