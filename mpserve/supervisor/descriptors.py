"""File descriptors: how many a process may have, and those that are not its own.

What it does not own it closes, so that the end of a stream is seen.
"""

import os
import resource
import sys
from collections.abc import Iterable
from typing import Final

STANDARD_FDS: Final = (0, 1, 2)
_HIGHEST = 1 << 20


def open_standard_streams() -> None:
    """Open those that the server was started without.

    Else one of its sockets gets such a number, and whoever prints writes into it.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) in STANDARD_FDS:
        os.set_inheritable(fd, True)  # noqa: FBT003  # the function's only form
    os.close(fd)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:  # as Python leaves it then
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def raise_limit() -> None:
    """Take as many descriptors as the operator allows: children inherit it.

    The soft limit is for programs that use `select`, which knows the first 1024 only; we do not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor of this process except `kept`."""
    start = 0
    for fd in sorted(kept):
        if start < fd:  # `closerange(0, 0)` closes everything: it asks for 0 to 2**32 - 1
            os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, max(start + 1, _HIGHEST))
