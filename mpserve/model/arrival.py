"""How and when a request came to a frontend, as its trace tells it."""

import enum

import msgspec


class Wire(enum.Enum):
    """By which wire, and what its moments are called. Source: triton.md 6.3."""

    HTTP = ("HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END")
    GRPC = ("GRPC_WAITREAD_START", "GRPC_WAITREAD_END", "GRPC_SEND_START", "GRPC_SEND_END")


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request that came.

    Attributes
    ----------
    begun_ns, complete_ns
        When its first and its last byte came, on the monotonic clock.
    context
        W3C's trace headers as a JSON object; "" for none.
    """

    wire: Wire
    begun_ns: int
    complete_ns: int
    context: str = ""
