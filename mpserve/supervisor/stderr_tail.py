"""The stderr of a child, passed on unchanged, with its last lines kept to tell why it died.

Where our own is not read, they are kept, and lost to the log (`telemetry.outlet`).
"""

import asyncio
import os
from collections import deque
from typing import Final, Self

from mpserve.telemetry.outlet import STANDARD_ERROR

KEPT_LINES: Final = 4  # the end of a traceback; what came before is in the log
_LINE_BYTES: Final = 400
_READ_BYTES: Final = 1 << 16


class StderrTail:
    """Reading end of a child's stderr. Made by `open` or `follow`; owns its descriptor."""

    def __init__(self, read_fd: int) -> None:
        self._read_fd = read_fd
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    @classmethod
    def open(cls) -> tuple[Self, int]:
        """Return a tail that reads from now on, and the descriptor for the child to write to."""
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        return cls.follow(read_fd), write_fd

    @classmethod
    def follow(cls, read_fd: int) -> Self:
        """Return a tail of a pipe that is there already; it owns the descriptor."""
        os.set_blocking(read_fd, False)
        tail = cls(read_fd)
        tail._loop.add_reader(read_fd, tail._pass_on)
        return tail

    def close(self) -> tuple[str, ...]:
        """Pass on what is left, stop reading, and return the last lines, oldest first."""
        while self._is_open and self._pass_on():
            continue
        self._shut()
        kept = [*self._lines, self._rest]
        return tuple(line.decode(errors="replace") for line in kept if line.strip())[-KEPT_LINES:]

    def _pass_on(self) -> bool:
        """Read once and write it out; false when there was nothing."""
        try:
            chunk = os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._shut()
            return False
        STANDARD_ERROR.write(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(line[:_LINE_BYTES] for line in lines if line.strip())
        self._rest = self._rest[:_LINE_BYTES]
        return True

    def _shut(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
