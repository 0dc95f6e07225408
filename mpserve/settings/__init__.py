"""What the operator wants: `Settings`, and how it is read from flags, environment and files."""

from mpserve.settings.settings import (
    LogFormat,
    LogLevel,
    ModelControlMode,
    Settings,
    decode_settings,
    encode_settings,
)

__all__ = [
    "LogFormat",
    "LogLevel",
    "ModelControlMode",
    "Settings",
    "decode_settings",
    "encode_settings",
]
