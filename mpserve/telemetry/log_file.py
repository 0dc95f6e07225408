"""The log's file (`--log-file`), in the place of standard error."""

import os
from typing import Final

STDERR_FD: Final = 2


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
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.dup2(fd, STDERR_FD)
    finally:
        os.close(fd)
