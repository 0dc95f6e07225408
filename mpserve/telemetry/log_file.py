"""The log's file (`--log-file`), in the place of standard error."""

import errno
import os
from typing import Final

from mpserve.telemetry.outlet import STDERR_FD

_NO_READER: Final = "nobody reads this pipe; start its reader first, or give a file"


def redirect(path: str) -> None:
    """Append to `path` what this process, and those it starts, write to standard error.

    Done again, it goes to the file that has that name by then. Nothing happens for "".

    Raises
    ------
    OSError
        The file can not be opened; what was there goes on.
    """
    if not path:
        return
    fd = _opened(path)
    try:
        os.dup2(fd, STDERR_FD)
    finally:
        os.close(fd)


def _opened(path: str) -> int:
    """Open without a wait: not for the reader of a pipe, neither now nor when it is full."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, _NO_READER, path) from error
        raise
