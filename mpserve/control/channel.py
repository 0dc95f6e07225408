"""The two ends of a control socket: one for an event loop, one for a thread that may block.

Both know that the other process is gone by the end of the stream, never by polling.
"""

import asyncio
import fcntl
import os
import socket
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, Self, TypeVar

from mpserve.control.framing import FrameDecoder, MessageTypes, encode_frame
from mpserve.control.message import Message
from mpserve.errors import InternalError

_READ_BYTES: Final = 1 << 16
_MOST_READS: Final = 64  # in a turn; more than a socket buffer can hold
_INT_BYTES: Final = 4

M = TypeVar("M")


class Channel(Generic[M]):
    """Control socket in an event loop; messages arrive as calls. Made by `open`.

    Guarantees
        Messages go out in order and whole. `on_end` is called once, when the other side is gone or
        sent rubbish, and never after `close`.
    Owner
        The channel owns its socket, and the descriptors given to `send`.
    """

    def __init__(
        self,
        connected: socket.socket,
        union: MessageTypes,
        *,
        on_message: Callable[[M], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self._socket = connected
        self._decoder: FrameDecoder[M] = FrameDecoder(union)
        self._on_message = on_message
        self._on_end = on_end
        self._unsent: deque[_Unsent] = deque()
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._is_closing = False

    @classmethod
    def open(
        cls,
        connected: socket.socket,
        union: MessageTypes,
        *,
        on_message: Callable[[M], None],
        on_end: Callable[[Exception | None], None],
    ) -> Self:
        """Return a channel that reads from now on.

        Parameters
        ----------
        connected
            Stream socket.
        union
            What the other side may send.
        on_message
            Called with each message, in order.
        on_end
            Called once when the stream ended; with the reason when the other side did not end it.
        """
        connected.settimeout(0.0)
        channel = cls(connected, union, on_message=on_message, on_end=on_end)
        channel._loop.add_reader(connected, channel._on_readable)
        return channel

    def send(self, message: Message, *, fds: Sequence[int] = ()) -> None:
        """Send `message`; without effect when the other side is gone (`on_end` tells so).

        Parameters
        ----------
        fds
            Descriptors that go along (SCM_RIGHTS); they are closed here once they are sent.
        """
        unsent = _Unsent(memoryview(encode_frame(message)), tuple(fds))
        if not self._is_open or self._is_closing:
            unsent.drop()
            return
        self._unsent.append(unsent)
        if len(self._unsent) == 1:
            self._flush()

    def has_unread(self) -> bool:
        """Tell whether the other side has not yet read all that it was sent: it may hang."""
        if not self._is_open:
            return False
        answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(_INT_BYTES))
        return bool(self._unsent) or int.from_bytes(answer, sys.byteorder) > 0

    def read_rest(self) -> None:
        """Hand over what has arrived already, from a process that is known to be dead.

        Its last message may be younger than the news of its death.
        """
        while self._is_open and self._read():
            continue

    def close(self) -> None:
        """Send what is still unsent, then close. Idempotent."""
        self._is_closing = True
        if not self._unsent:
            self._shut()

    def _on_readable(self) -> None:
        """Read what is there.

        More than once: of a process that died with messages unread, uvloop tells by one last call,
        and its own last messages may still lie before the end of the stream.
        """
        for _ in range(_MOST_READS):
            if not (self._is_open and self._read()):
                return

    def _read(self) -> bool:
        """Read once; false when nothing came."""
        try:
            chunk = self._socket.recv(_READ_BYTES)
            messages = self._decoder.feed(chunk)
        except (BlockingIOError, InterruptedError):
            return False
        except (OSError, InternalError) as error:
            self._lost(error)
            return False
        for message in messages:
            self._on_message(message)
        if not chunk:
            self._lost(None)
        return bool(chunk)

    def _flush(self) -> None:
        while self._unsent:
            try:
                self._unsent[0].send(self._socket)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                # The other side is gone. What it sent before is still to be read; the end follows.
                self._drop_unsent()
                break
            if self._unsent[0].is_sent:
                self._unsent.popleft()
        self._loop.remove_writer(self._socket)
        if self._is_closing:
            self._shut()

    def _lost(self, reason: Exception | None) -> None:
        is_news = self._is_open and not self._is_closing
        self._shut()
        if is_news:
            self._on_end(reason)

    def _shut(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._drop_unsent()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def _drop_unsent(self) -> None:
        for unsent in self._unsent:
            unsent.drop()
        self._unsent.clear()


class _Unsent:
    """A frame on its way out. Its descriptors go with the first byte."""

    def __init__(self, frame: memoryview, fds: tuple[int, ...]) -> None:
        self._frame = frame
        self._fds = fds

    @property
    def is_sent(self) -> bool:
        return not self._frame

    def send(self, connected: socket.socket) -> None:
        if self._fds:
            sent = socket.send_fds(connected, [self._frame], list(self._fds))
            self.drop()
        else:
            sent = connected.send(self._frame)
        self._frame = self._frame[sent:]

    def drop(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds = ()


class BlockingChannel(Generic[M]):
    """Control socket of a process, or a thread of it, that has no event loop.

    `send` may be called from any thread, `receive` from one.
    """

    def __init__(self, connected: socket.socket, union: MessageTypes) -> None:
        connected.settimeout(None)
        self._socket = connected
        self._decoder: FrameDecoder[M] = FrameDecoder(union)
        self._arrived: deque[M] = deque()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send `message`; without effect when the other side is gone (`receive` tells so)."""
        frame = encode_frame(message)
        try:
            with self._sending:
                self._socket.sendall(frame)
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
