"""What was wanted and needs a package that is not installed."""

import ctypes
import importlib.util
from typing import Final

import msgspec

from mpserve.model.trace_setting import TraceMode
from mpserve.settings.arguments import UsageError
from mpserve.settings.environment import Chosen
from mpserve.settings.grpc_settings import GrpcTransport
from mpserve.settings.settings import Settings

AIO_LIBRARY: Final = "grpc"
NATIVE_LIBRARY: Final = "libnghttp2.so.14"
_AIO_REMEDY: Final = "grpcio (pip install 'mpserve[grpc]')"
_NATIVE_REMEDY: Final = "nghttp2 (Debian and Ubuntu: libnghttp2-14)"
SPAN_LIBRARIES: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def without_absent(
    settings: Settings,
    chosen: Chosen,
    *,
    aio: str = AIO_LIBRARY,
    native: str = NATIVE_LIBRARY,
) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings without gRPC when nothing can carry it, and what to tell about that.

    Parameters
    ----------
    chosen
        What was said in so many words, by flag name.
    aio, native
        Package and shared library of the two transports.

    Raises
    ------
    UsageError
        gRPC was asked for in so many words, or nothing else is to be served.
    """
    missing = _missing(settings.grpc.transport, aio=aio, native=native)
    if not settings.allow_grpc or not missing:
        return settings, ()
    remedy = f"it needs {missing}"
    if "allow-grpc" in chosen or "grpc-transport" in chosen or not settings.allow_http:
        raise UsageError(f"--allow-grpc: gRPC can not be served: {remedy}")
    without = msgspec.structs.replace(settings, allow_grpc=False)
    return without, (f"gRPC (port {settings.grpc.port}) is not served: {remedy}",)


def _missing(transport: GrpcTransport, *, aio: str, native: str) -> str:
    """Return what the transport needs and does not have, "" for nothing."""
    match transport:
        case GrpcTransport.NATIVE:
            return ""  # the core says more exactly what is wrong with its library
        case GrpcTransport.AIO:
            return "" if _has_package(aio) else _AIO_REMEDY
        case GrpcTransport.AUTO:
            if _has_package(aio) or _has_library(native):
                return ""
            return f"{_NATIVE_REMEDY} or {_AIO_REMEDY}"


def _has_package(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package that it lies in
        return False


def _has_library(file: str) -> bool:
    try:
        ctypes.CDLL(file)
    except OSError:
        return False
    return True


def check_spans(settings: Settings, *, libraries: tuple[str, ...] = SPAN_LIBRARIES) -> None:
    """Raise `UsageError` when spans are wanted and their packages are not installed."""
    if settings.trace.mode is TraceMode.OPENTELEMETRY and not all(map(_has_package, libraries)):
        raise UsageError(
            "--trace-config mode=opentelemetry needs opentelemetry-sdk and its OTLP exporter, "
            "install them with: pip install 'mpserve[otel]'"
        )
