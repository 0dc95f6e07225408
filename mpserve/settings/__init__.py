"""What the operator wants: `Settings`, and how it is read from flags, environment and files."""

from mpserve.settings.client_limits import ClientLimits
from mpserve.settings.cors import WILDCARD, CorsSettings
from mpserve.settings.grpc_settings import GrpcCompression, GrpcSettings, GrpcTransport
from mpserve.settings.http_settings import Category, HttpSettings, Restriction
from mpserve.settings.settings import (
    Allocator,
    ModelControlMode,
    RateLimitMode,
    Settings,
    decode_settings,
    encode_settings,
)

__all__ = [
    "WILDCARD",
    "Allocator",
    "Category",
    "ClientLimits",
    "CorsSettings",
    "GrpcCompression",
    "GrpcSettings",
    "GrpcTransport",
    "HttpSettings",
    "ModelControlMode",
    "RateLimitMode",
    "Restriction",
    "Settings",
    "decode_settings",
    "encode_settings",
]
