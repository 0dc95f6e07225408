"""A descriptor that is written to without a long wait for whoever reads it.

Guarantees
    A reader that stands still (a full pipe, a terminal that is held) costs its writer the patience
    once, then lines and no time, until it reads on. Writing never raises: a closed end loses lines,
    too. Lost lines are counted, and what follows half a line begins a new one.
Assumes
    What is writable takes `PIPE_BUF` bytes at once (pipe(7)), unless another process takes the room
    between the look and the write.
Owner
    It owns nothing: the descriptor stays its caller's, and may come to mean another file.
"""

import os
import select
import stat
from typing import Final

STDERR_FD: Final = 2
PATIENCE_SECONDS: Final = 0.1  # a reader that lives makes room within microseconds


class Outlet:
    """Writes to a descriptor.

    Parameters
    ----------
    patience_seconds
        How long a reader that has stood still is waited for.
    """

    def __init__(self, fd: int, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._fd = fd
        self._patience_ms = patience_seconds * 1000
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._stands_still = False
        self._is_torn = False
        self._lost_lines = 0

    def write(self, text: bytes) -> None:
        """Write lines, or lose what there is no room for."""
        if self._is_torn:
            text = b"\n" + text
        written = 0
        try:
            at_once = len(text) if self._is_file() else select.PIPE_BUF
            while written < len(text) and self._has_room():
                written += os.write(self._fd, text[written : written + at_once])
        except OSError:  # nobody reads any more: there is nowhere to say so
            self._stands_still = True
        if written < len(text):
            self._lost_lines += max(text.count(b"\n", written), 1)
        if written:
            self._is_torn = written < len(text) and text[written - 1 : written] != b"\n"

    def take_lost_lines(self) -> int:
        """Return how many lines were lost since it was told last; 0 while it can not be told."""
        if not self._lost_lines or not self._has_room():
            return 0
        lost, self._lost_lines = self._lost_lines, 0
        return lost

    def _has_room(self) -> bool:
        has_room = bool(self._poll.poll(0 if self._stands_still else self._patience_ms))
        self._stands_still = not has_room
        return has_room

    def _is_file(self) -> bool:
        return stat.S_ISREG(os.fstat(self._fd).st_mode)


STANDARD_ERROR: Final = Outlet(STDERR_FD)
"""That of this process, whichever file it is by then."""
