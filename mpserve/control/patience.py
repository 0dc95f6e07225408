"""Who goes first on a core: a process that serves, before one that loads or unloads.

The kernel lets what runs finish its slice of time before it looks at who has woken up since, and
looks at ticks: a load that computes keeps a frontend on its core waiting for up to 4 ms. A process
that asks for long slices is interrupted by those with usual ones. What it gets of a core in the
long run is the same: nothing is starved, and nothing has to be permitted. The supervisor is
patient, too, for all its life: what it does for a load comes in pieces of a millisecond. It takes
locks of the model queues, for microseconds each; who meets one sleeps, and so gives the supervisor
its core back.

Guarantees
    `be_prompt` undoes `be_patient`, for all threads of the process and for what they have started
    meanwhile; both change nothing else. Where the kernel has no such slices (before Linux 6.12, or
    for a process of a real-time class) nothing happens.
Source: sched_setattr(2), `sched_runtime` of SCHED_OTHER and SCHED_BATCH; kernel/sched/fair.c,
    feature PREEMPT_SHORT.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Final

PATIENT_NS: Final = 4_000_000
"""More than the usual slice, which is 3 ms at most: who wakes up goes first when it is owed a
turn earlier than the end of this one. Not longer, because who has had more than its share waits for
that end (before Linux 6.17)."""

USUAL_NS: Final = 0
"""The kernel's own slice."""

_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}.get(os.uname().machine)
"""Of `sched_setattr` and `sched_getattr`; `None` where they are not known."""

_FAIR: Final = frozenset({0, 3})  # SCHED_OTHER, SCHED_BATCH
_LIBC: Final = ctypes.CDLL(None)
_own_ns = USUAL_NS  # of this process, before it was patient; its forks have it, too


class _Attributes(ctypes.Structure):
    """`struct sched_attr` as of Linux 3.14."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def be_patient() -> None:
    """Let others go first from now on: all threads of this process."""
    global _own_ns  # noqa: PLW0603  # of the process
    found = slice_ns(0)
    if found not in {0, PATIENT_NS}:
        _own_ns = found
        for task in _threads(os.getpid()):
            _set_slice(task, PATIENT_NS)


def be_prompt() -> None:
    """Take turns as before `be_patient`, with all threads and all processes started since."""
    if slice_ns(0) == PATIENT_NS:
        for task in _descendants(os.getpid()):
            if slice_ns(task) == PATIENT_NS:
                _restore(task)


def slice_ns(task: int) -> int:
    """Return the slice of a thread, 0 for the calling one; 0 where the kernel has none for it."""
    attributes = _attributes(task)
    return attributes.runtime if attributes is not None and attributes.policy in _FAIR else 0


def _restore(task: int) -> None:
    _set_slice(task, USUAL_NS)
    if slice_ns(task) != _own_ns:  # it had one of its own
        _set_slice(task, _own_ns)


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208  at each fork
    except OSError:  # it ended
        return []


def _descendants(pid: int) -> Iterator[int]:
    """Return the threads of a process and of what it has started, and so on."""
    for task in _threads(pid):
        yield task
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:  # noqa: PTH123  at each fork
            for child in file.read().split():
                yield from _descendants(int(child))


def _attributes(task: int) -> _Attributes | None:
    if _CALLS is None:
        return None
    attributes = _Attributes()
    size = ctypes.sizeof(attributes)
    failed = _LIBC.syscall(_CALLS[1], task, ctypes.byref(attributes), size, 0)
    return None if failed else attributes


def _set_slice(task: int, length_ns: int) -> None:
    """Change the slice and nothing else."""
    attributes = _attributes(task)
    if _CALLS is None or attributes is None or attributes.policy not in _FAIR:
        return
    attributes.runtime = length_ns
    _LIBC.syscall(
        _CALLS[0], task, ctypes.byref(attributes), 0
    )  # refused for another user's process
