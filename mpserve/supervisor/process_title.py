"""The name of a process as `ps` and `top` show it."""

import ctypes

_COMM_BYTES = 15  # the kernel's limit
_PR_SET_NAME = 15  # linux/prctl.h
_LIBC = ctypes.CDLL(None)


def set_process_title(title: str) -> None:
    """Name this process; what is longer than the kernel allows is cut.

    Not by `/proc/self/comm`, which a worker that is another user may not write. To be called by the
    main thread: the name is a thread's.
    """
    _LIBC.prctl(_PR_SET_NAME, title.encode()[:_COMM_BYTES], 0, 0, 0)
