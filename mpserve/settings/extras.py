"""What was wanted and needs a package that is not installed."""

import importlib.util
from typing import Final

import msgspec

from mpserve.settings.arguments import UsageError
from mpserve.settings.environment import Chosen
from mpserve.settings.settings import Settings

GRPC_LIBRARY: Final = "grpc"
_REMEDY: Final = "it needs grpcio, install it with: pip install 'mpserve[grpc]'"


def without_absent(
    settings: Settings, chosen: Chosen, *, library: str = GRPC_LIBRARY
) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings without gRPC when its library is absent, and what to tell about that.

    Parameters
    ----------
    chosen
        What was said in so many words, by flag name.

    Raises
    ------
    UsageError
        gRPC was asked for in so many words, or nothing else is to be served.
    """
    if not settings.allow_grpc or importlib.util.find_spec(library) is not None:
        return settings, ()
    if "allow-grpc" in chosen or not settings.allow_http:
        raise UsageError(f"--allow-grpc: gRPC can not be served: {_REMEDY}")
    without = msgspec.structs.replace(settings, allow_grpc=False)
    return without, (f"gRPC (port {settings.grpc.port}) is not served: {_REMEDY}",)
