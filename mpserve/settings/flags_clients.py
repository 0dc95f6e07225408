"""Rows of the flags that limit what clients may use up."""

from typing import Final

from mpserve.settings.flags import Flag, Group, Kind

MAX_CONNECTIONS: Final = 1 << 20

CLIENTS_ACTING: Final = (
    Flag(
        name="client-max-connections",
        kind=Kind.INT,
        group=Group.CLIENTS,
        field="clients.max_connections",
        default=16384,
        least=1,
        most=MAX_CONNECTIONS,
        help=(
            "mpserve: connections to each frontend, of HTTP and as many of gRPC; more are refused "
            "with 503 and Retry-After, or GOAWAY."
        ),
    ),
    Flag(
        name="client-receive-timeout-secs",
        kind=Kind.INT,
        group=Group.CLIENTS,
        field="clients.receive_secs",
        default=20,
        least=0,
        help=(
            "mpserve: how long the head of a request may take; over so long its body must come at "
            "1 KiB/s. 408, or DEADLINE_EXCEEDED, otherwise. 0: for ever."
        ),
    ),
    Flag(
        name="client-send-timeout-secs",
        kind=Kind.INT,
        group=Group.CLIENTS,
        field="clients.send_secs",
        default=60,
        least=0,
        help=(
            "mpserve: over so long a client must read its answer at 1 KiB/s, else its connection "
            "or call ends. 0: for ever."
        ),
    ),
    Flag(
        name="client-idle-timeout-secs",
        kind=Kind.INT,
        group=Group.CLIENTS,
        field="clients.idle_secs",
        default=600,
        least=0,
        help="mpserve: how long a connection may be without a request. 0: for ever.",
    ),
)
