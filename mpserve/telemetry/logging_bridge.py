"""Python's `logging` written as events of our log, for what models and libraries say.

Apart from `log.py` because importing `logging` costs milliseconds that the command line need
not pay.
"""

import logging
from typing import Final

from mpserve.telemetry import log

_WRITERS: Final = (
    (logging.ERROR, log.error),
    (logging.WARNING, log.warning),
    (logging.INFO, log.info),
    (logging.NOTSET, log.debug),
)


class LoggingBridge(logging.Handler):
    """Handler that turns a record into the event `library.logged`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`; a record that can not be formatted goes the way of `logging`'s errors."""
        try:
            fields = fields_of(record)
        except Exception:  # noqa: BLE001  # the model's own arguments: any __str__ may raise
            self.handleError(record)
            return
        write = next(write for level, write in _WRITERS if record.levelno >= level)
        write("library.logged", **fields)


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return what the event of a record tells; raises what the arguments of a record raise."""
    fields = {"logger": record.name, "message": record.getMessage()}
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return fields


def bridge_logging() -> None:
    """Send the root logger's records to our log, in place of its present handlers."""
    root = logging.getLogger()
    root.handlers = [LoggingBridge()]
    follow_level()


def follow_level() -> None:
    """Let the root logger make the records that our log writes now."""
    root = logging.getLogger()
    if any(isinstance(handler, LoggingBridge) for handler in root.handlers):
        root.setLevel(logging.DEBUG if log.is_debug() else logging.INFO)
