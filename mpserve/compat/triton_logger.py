"""The log as Triton models write to it: `pb_utils.Logger`."""

import enum
from typing import Final

from mpserve.telemetry import log


class LogLevel(enum.IntEnum):
    """Triton's levels; VERBOSE is our debug."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    VERBOSE = 3


_WRITERS: Final = {
    LogLevel.INFO: log.info,
    LogLevel.WARNING: log.warning,
    LogLevel.ERROR: log.error,
    LogLevel.VERBOSE: log.debug,
}


class Logger:
    """Writes lines of a model into the server's log as the event `model.logged`."""

    INFO = LogLevel.INFO
    WARNING = LogLevel.WARNING
    ERROR = LogLevel.ERROR
    VERBOSE = LogLevel.VERBOSE

    @staticmethod
    def log(message: str, level: LogLevel = LogLevel.INFO) -> None:
        """Log a message at a level."""
        _WRITERS[LogLevel(level)]("model.logged", message=str(message))

    @staticmethod
    def log_info(message: str) -> None:
        """Log a message at INFO."""
        Logger.log(message, LogLevel.INFO)

    @staticmethod
    def log_warn(message: str) -> None:
        """Log a message at WARNING."""
        Logger.log(message, LogLevel.WARNING)

    @staticmethod
    def log_error(message: str) -> None:
        """Log a message at ERROR."""
        Logger.log(message, LogLevel.ERROR)

    @staticmethod
    def log_verbose(message: str) -> None:
        """Log a message at VERBOSE."""
        Logger.log(message, LogLevel.VERBOSE)


setattr(Logger, "LogLevel", LogLevel)  # noqa: B010  # in the class its methods would mean it
