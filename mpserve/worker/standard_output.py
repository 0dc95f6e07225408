"""What a model prints: it is seen line by line; it may be lost, but never fails the model.

Standard output is whatever the server was started with: a disk may be full, a pipe's reader gone or
standing still.
Standard error is a pipe to the supervisor, which bears that (`supervisor.stderr_tail`).
"""

import contextlib
import io
import sys
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from mpserve.telemetry.outlet import Outlet

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT_FD: Final = 1
PATIENCE_SECONDS: Final = 1.0  # of a model that prints more than is read: it holds up itself alone


class LossyFile(io.FileIO):
    """A file that takes everything, also what can not be written."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "wb", closefd=False)
        self._outlet = Outlet(fd, patience_seconds=PATIENCE_SECONDS)

    def write(self, content: "ReadableBuffer", /) -> int:
        """Write, or lose it; return how many bytes are done with."""
        text = bytes(content)
        self._outlet.write(text)
        return len(text)


def bear_lost_output(fd: int = _STDOUT_FD) -> None:
    """Make `sys.stdout` one that never fails, and shows each line when it is ended.

    Else a log that is no terminal would show what a model prints in blocks of some kilobytes, lines
    of several workers torn, and the last ones never. With `PYTHONUNBUFFERED` each piece is shown.
    """
    present = cast("io.TextIOWrapper", sys.stdout)
    with contextlib.suppress(OSError):
        present.flush()
    file = LossyFile(fd)
    unbuffered = present.write_through
    sys.stdout = io.TextIOWrapper(
        cast("BinaryIO", file) if unbuffered else io.BufferedWriter(file),
        encoding=present.encoding,
        errors=present.errors,
        line_buffering=True,
        write_through=unbuffered,
    )
