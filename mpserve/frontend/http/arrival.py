"""How a request came, from an HTTP exchange."""

from mpserve.frontend.http.responses import Exchange
from mpserve.model.arrival import Arrival, Wire
from mpserve.telemetry.spans import CONTEXT_HEADERS, context_of

_NAMES = frozenset(name.encode() for name in CONTEXT_HEADERS)


def http_arrival(exchange: Exchange) -> Arrival:
    """Return when the request came, and the context that it brought."""
    found = {
        name.decode(): value.decode("latin-1") for name, value in exchange.headers if name in _NAMES
    }
    return Arrival(
        wire=Wire.HTTP,
        begun_ns=exchange.received_ns,
        complete_ns=exchange.complete_ns,
        context=context_of(found),
    )
