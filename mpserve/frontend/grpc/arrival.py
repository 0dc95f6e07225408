"""How a request came, from a call or a stream of gRPC."""

import time

from mpserve.frontend.grpc.call import Metadata
from mpserve.model.arrival import Arrival, Wire
from mpserve.telemetry.spans import context_of


def grpc_arrival(metadata: Metadata, begun_ns: int) -> Arrival:
    """Return when a request came that is complete now, and the context that it brought."""
    return Arrival(
        wire=Wire.GRPC,
        begun_ns=begun_ns,
        complete_ns=time.monotonic_ns(),
        context=context_of(metadata),
    )
