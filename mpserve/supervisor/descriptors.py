"""File descriptors: how many a process may have, and those that are not its own.

What it does not own it closes, so that the end of a stream is seen.
"""

import os
import resource
from collections.abc import Iterable

_HIGHEST = 1 << 20


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
