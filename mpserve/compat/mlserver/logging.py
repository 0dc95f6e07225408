"""The logger models write to; the worker decides where it goes."""

import logging
from typing import Final

LoggerName: Final = "mlserver"

logger = logging.getLogger(LoggerName)


def get_logger() -> logging.Logger:
    """Return MLServer's logger."""
    return logger
