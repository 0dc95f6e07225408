"""Lets a child end when the harness is killed: the kernel sends it SIGTERM."""

import ctypes
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Run it in the child between fork and exec (`preexec_fn`). Source: `prctl(2)`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
