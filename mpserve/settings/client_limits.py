"""What clients may use up of a frontend; the flags are `--client-*`."""

import msgspec


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of each frontend towards those who connect to it.

    Attributes
    ----------
    max_connections
        Of HTTP, and as many of gRPC.
    receive_secs
        How long the head of a request may take; its body comes no slower than 1 KiB/s, looked at
        over so long. 0 for ever.
    send_secs
        Over how long a client that reads its answer must take 1 KiB/s of it. 0 for ever.
    idle_secs
        How long a connection may be without a request. 0 for ever.
    """

    max_connections: int = 16384
    receive_secs: int = 20
    send_secs: int = 60
    idle_secs: int = 600
