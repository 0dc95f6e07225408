"""What the operator wants: `Settings`, and how it is read from flags, environment and files."""

from mpserve.settings.grpc_settings import GrpcCompression, GrpcSettings
from mpserve.settings.settings import (
    LogFormat,
    LogLevel,
    ModelControlMode,
    Settings,
    decode_settings,
    encode_settings,
)

__all__ = [
    "GrpcCompression",
    "GrpcSettings",
    "LogFormat",
    "LogLevel",
    "ModelControlMode",
    "Settings",
    "decode_settings",
    "encode_settings",
]
