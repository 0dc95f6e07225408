"""The two ends of a control socket: one for an event loop, one for a thread that may block.

Both know that the other process is gone by the end of the stream, never by polling.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Self, TypeVar

from mpserve.control.framing import FrameDecoder, MessageTypes, encode_frame
from mpserve.control.messages import Message
from mpserve.errors import InternalError

_READ_BYTES: Final = 1 << 16

M = TypeVar("M")


class Channel(asyncio.Protocol, Generic[M]):
    """Control socket in an event loop; messages arrive as calls.

    Parameters
    ----------
    union
        What the other side may send.
    on_message
        Called with each message, in order.
    on_end
        Called once when the stream ended: the other process died, closed it, or sent rubbish (then
        with the reason).
    """

    def __init__(
        self,
        union: MessageTypes,
        *,
        on_message: Callable[[M], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self._decoder: FrameDecoder[M] = FrameDecoder(union)
        self._on_message = on_message
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._fault: Exception | None = None

    @classmethod
    async def over(
        cls,
        connected: socket.socket,
        union: MessageTypes,
        *,
        on_message: Callable[[M], None],
        on_end: Callable[[Exception | None], None],
    ) -> Self:
        """Return an open channel; it owns the socket from now on."""
        connected.settimeout(0.0)
        _, channel = await asyncio.get_running_loop().create_unix_connection(
            lambda: cls(union, on_message=on_message, on_end=on_end), sock=connected
        )
        return channel

    def send(self, message: Message) -> None:
        """Send `message`; without effect when the other side is gone (`on_end` tells so)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_frame(message))

    def close(self) -> None:
        """Send what is still unsent, then close. Idempotent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (called by the loop)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand over the messages that `data` completes (called by the loop)."""
        try:
            messages = self._decoder.feed(data)
        except InternalError as error:
            self._fault = error
            assert self._transport is not None
            self._transport.abort()
            return
        for message in messages:
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the stream ended (called by the loop)."""
        self._transport = None
        self._on_end(self._fault or exc)


class BlockingChannel(Generic[M]):
    """Control socket of a process, or a thread of it, that has no event loop.

    `send` and `receive` may be called from two different threads, each from one only.
    """

    def __init__(self, connected: socket.socket, union: MessageTypes) -> None:
        connected.settimeout(None)
        self._socket = connected
        self._decoder: FrameDecoder[M] = FrameDecoder(union)
        self._arrived: deque[M] = deque()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send `message`; without effect when the other side is gone (`receive` tells so)."""
        try:
            self._socket.sendall(encode_frame(message))
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> M | None:
        """Wait for the next message; `None` when the stream ended.

        Raises
        ------
        InternalError
            The other side sent rubbish.
        """
        while not self._arrived:
            if not self._read():
                return None
        return self._arrived.popleft()

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def _read(self) -> bool:
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except ConnectionResetError:
            return False
        self._arrived.extend(self._decoder.feed(chunk))
        return bool(chunk)
