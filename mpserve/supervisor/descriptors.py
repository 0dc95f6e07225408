"""File descriptors that a process does not own are closed, so that the end of a stream is seen."""

import os
from collections.abc import Iterable

_HIGHEST = 1 << 20


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor of this process except `kept`."""
    start = 0
    for fd in sorted(kept):
        if start < fd:  # `closerange(0, 0)` closes everything: it asks for 0 to 2**32 - 1
            os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, max(start + 1, _HIGHEST))
