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
            message = record.getMessage()
            fields = {"logger": record.name, "message": message}
            if record.exc_info:
                fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001  # the model's own arguments: any __str__ may raise
            self.handleError(record)
            return
        write = next(write for level, write in _WRITERS if record.levelno >= level)
        write("library.logged", **fields)


def bridge_logging() -> None:
    """Send the root logger's records to our log, in place of its present handlers."""
    root = logging.getLogger()
    root.handlers = [LoggingBridge()]
    follow_level()


def follow_level() -> None:
    """Let the root logger make the records that our log writes now."""
    logging.getLogger().setLevel(logging.DEBUG if log.is_debug() else logging.INFO)
