"""What the operator wants: the `Settings` Struct and how it is read from flags, environment, files."""

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
