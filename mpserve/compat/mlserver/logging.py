"""The logger models write to; the worker decides where it goes, and in which form."""

import json
import logging
import logging.config
from pathlib import Path
from typing import Any, Final

from mpserve.compat.mlserver.context import model_name_var, model_version_var

LoggerName: Final = "mlserver"

logger = logging.getLogger(LoggerName)


def get_logger() -> logging.Logger:
    """Return MLServer's logger."""
    return logger


def configure_logger(settings: Any = None) -> logging.Logger:  # noqa: ANN401  # a Settings
    """Return the logger: it is configured."""
    del settings
    return logger


def apply_logging_file(logging_settings: str | dict[str, Any]) -> None:
    """Configure Python's logging by a file (JSON, or as `fileConfig` has it) or a dictionary."""
    if isinstance(logging_settings, dict):
        logging.config.dictConfig(logging_settings)
    elif Path(logging_settings).suffix == ".json":
        logging.config.dictConfig(json.loads(Path(logging_settings).read_text(encoding="utf-8")))
    else:
        logging.config.fileConfig(logging_settings, disable_existing_loggers=False)


class ModelLoggerFormatter(logging.Formatter):
    """Names the model whose code logs, as in `[iris:v1]`."""

    def __init__(self, settings: Any = None) -> None:  # noqa: ANN401  # a Settings
        self.use_structured_logging = bool(settings and settings.use_structured_logging)
        super().__init__("%(asctime)s [%(name)s]%(model)s %(levelname)s - %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        name, version = model_name_var.get(""), model_version_var.get("")
        if self.use_structured_logging:
            record.message = record.getMessage()
            fields = {
                "time": self.formatTime(record),
                "name": record.name,
                "level": record.levelname,
                "message": record.message,
                "model_name": name,
                "model_version": version,
            }
            return json.dumps({key: value for key, value in fields.items() if value})
        record.model = f"[{name}:{version}]" if version else f"[{name}]" if name else ""
        return super().format(record)
