"""What a model prints: it may be lost, but never fails the model.

Standard output is whatever the server was started with: a disk may be full, a pipe's reader gone.
Standard error is a pipe to the supervisor, which bears that (`supervisor.stderr_tail`).
"""

import io
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT_FD: Final = 1


class LossyFile(io.FileIO):
    """A file that takes everything, also what can not be written."""

    def write(self, content: "ReadableBuffer", /) -> int:
        """Write, or lose it; return how many bytes are done with."""
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def bear_lost_output(fd: int = _STDOUT_FD) -> None:
    """Make `sys.stdout` one that never fails."""
    file = LossyFile(fd, "wb", closefd=False)
    buffered = io.BufferedWriter(file)
    sys.stdout = io.TextIOWrapper(buffered, encoding=sys.stdout.encoding, errors=sys.stdout.errors)
