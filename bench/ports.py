"""Free TCP ports on loopback."""

import socket
from contextlib import ExitStack


def free_ports(count: int) -> tuple[int, ...]:
    """Ask the kernel for `count` different free ports.

    Notes
    -----
    All are held until the last is found, so that they differ; somebody else may take one before the
    server does, which the server then says.
    """
    with ExitStack() as held:
        listeners = [
            held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return tuple(int(listener.getsockname()[1]) for listener in listeners)
