"""Connections that ask for nothing: opened before the load, and held as long as it lasts."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Final

from bench.errors import LoadFailed

CONNECT_TIMEOUT_S: Final = 10


@contextlib.contextmanager
def idle_connections(count: int, *, port: int) -> Iterator[None]:
    """Hold `count` connections open during the block.

    Raises
    ------
    LoadFailed
        The server does not take that many, or has closed one by the end of the block.
    """
    with contextlib.ExitStack() as held:
        opened: list[socket.socket] = []
        for number in range(count):
            try:
                one = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S)
            except OSError as error:
                raise LoadFailed(f"idle connection {number + 1} of {count}: {error}") from error
            opened.append(held.enter_context(one))
        yield
        closed = sum(_is_closed(one) for one in opened)
        if closed:
            raise LoadFailed(f"the server closed {closed} of {count} idle connections")


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)  # noqa: FBT003  # the name of the argument is Python's
    try:
        connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True  # the end, or an answer to nothing
