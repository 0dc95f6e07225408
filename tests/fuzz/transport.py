"""Transports as a loop gives them to a connection: without a socket, and with a real one."""

import contextlib
import socket
from types import TracebackType
from typing import Any


class Transport:
    """Takes what a connection writes."""

    def __init__(self) -> None:
        self.is_closed = False
        self.written = bytearray()

    def write(self, text: bytes | memoryview) -> None:
        """Take every byte, so that a sanitizer sees what is written."""
        self.written += text

    def writelines(self, pieces: list[bytes]) -> None:
        """As `write`."""
        for piece in pieces:
            self.write(piece)

    def close(self) -> None:
        """Stop giving bytes."""
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        """Tell whether it was closed."""
        return self.is_closed

    def pause_reading(self) -> None:
        """Nothing is read ahead."""

    def resume_reading(self) -> None:
        """Nothing was held back."""

    def get_write_buffer_size(self) -> int:
        """Nothing is held back."""
        return 0

    def get_extra_info(self, _name: str, default: object = None) -> object:
        """There is no socket."""
        return default


class SocketTransport(Transport):
    """Has a socket, and is its client, too. A `with` block closes both ends."""

    def __init__(self) -> None:
        super().__init__()
        self._client, self._socket = socket.socketpair()
        self._is_reading = True
        for end in (self._client, self._socket):
            end.setblocking(False)

    def __enter__(self) -> "SocketTransport":
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._client.close()
        self._socket.close()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return the socket, which nothing encrypts."""
        return self._socket if name == "socket" else default

    def pause_reading(self) -> None:
        """Leave what comes to others."""
        assert self._is_reading
        self._is_reading = False

    def resume_reading(self) -> None:
        """Read again."""
        assert not self._is_reading
        self._is_reading = True

    def close(self) -> None:
        """Read no more."""
        super().close()
        self._is_reading = False

    abort = close

    def gives(self, connection: Any) -> bool:
        """Read once and tell `connection`, as a loop does; say whether there was anything."""
        if not self._is_reading:
            return False
        with memoryview(connection.get_buffer(-1)) as buffer:
            try:
                count = self._socket.recv_into(buffer)
            except BlockingIOError:
                return False
        if count == 0:
            connection.eof_received()
            self.close()
            return False
        connection.buffer_updated(count)
        return True

    def client_sends(self, text: bytes) -> None:
        """Send all of it; answers are taken first, so that they have room."""
        self._take()
        with contextlib.suppress(BrokenPipeError):
            assert self._client.send(text) == len(text)

    def client_ends(self) -> None:
        """Send no more."""
        self._client.shutdown(socket.SHUT_WR)

    def received(self) -> bytes:
        """Return all that the client got, by the socket and from the transport."""
        self._take()
        return bytes(self.written)

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while piece := self._client.recv(1 << 20):
                self.written += piece
