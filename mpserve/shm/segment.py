"""A shared-memory segment: its name, its reserved bytes and its mapping.

Guarantees
----------
- A segment is fully allocated when made (`posix_fallocate`): a small `/dev/shm` is an error here
  and never a SIGBUS later.
- Segments of `HUGE_PAGE_BYTES` and more have huge pages where the kernel gives them on request, and
  whoever makes one takes no page faults in it.
- Segments are readable and writable by their user only (mode 0600), or by one group beside it,
  when workers are another user (`share_with`).

Assumes
-------
Names end with the life of their server: `sweep` removes what a killed one left. Therefore Python's
resource tracker, which would unlink segments when *one* process of several ends, must not know
them.

Source: POSIX `shm_open(3)`; `multiprocessing.shared_memory` sizes with `ftruncate` and registers
attached segments with the tracker too (`track=` exists from Python 3.13 on).
"""

import contextlib
import errno
import mmap
import os
import sys
from multiprocessing import shared_memory
from types import TracebackType
from typing import Self

from mpserve.errors import ArenaFull

PREFIX = "mps-"
HUGE_PAGE_BYTES = 2 << 20  # on x86, and on ARM with pages of 4 KiB
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14, for which Python has no name
NO_GROUP = -1
_group = NO_GROUP
DIRECTORY = "/dev/shm"  # noqa: S108  where Linux keeps POSIX shared memory


def share_with(group: int) -> None:
    """Let a group read and write the segments that this process makes from now on."""
    global _group  # noqa: PLW0603  # of the process, set once at its start
    _group = group


class _NoTracker:
    """Stands in for the resource tracker while a segment is opened (Python < 3.13)."""

    @staticmethod
    def register(name: str, rtype: str) -> None:
        """Remember nothing."""

    @staticmethod
    def unregister(name: str, rtype: str) -> None:
        """Forget nothing."""


def _open(name: str, *, create: bool, size: int) -> shared_memory.SharedMemory:
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name, create=create, size=size, track=False)
    # There is no public way to keep the tracker out before 3.13; without this each process tree
    # would also carry a tracker process. Single-threaded at every caller.
    tracker = shared_memory.resource_tracker  # type: ignore[attr-defined]  # a module's global
    shared_memory.resource_tracker = _NoTracker  # type: ignore[attr-defined]  # see above
    try:
        return shared_memory.SharedMemory(name, create=create, size=size)
    finally:
        shared_memory.resource_tracker = tracker  # type: ignore[attr-defined]  # see above


def _map_at_once(memory: shared_memory.SharedMemory) -> None:
    """Ask for huge pages, then for all pages; a kernel that refuses either changes nothing else.

    The order matters: `posix_fallocate` knows no mapping, so it gives small pages where huge ones
    come on request only (`huge=advise` of the mount).
    """
    buffer = memory.buf
    assert buffer is not None, "a segment that was just opened has a buffer"
    mapping = buffer.obj
    assert isinstance(mapping, mmap.mmap), "shared memory is mapped by Python's mmap"
    for advice in (mmap.MADV_HUGEPAGE, _POPULATE_WRITE):
        with contextlib.suppress(OSError):
            mapping.madvise(advice)


class Segment:
    """One mapped segment.

    Attributes
    ----------
    name
        Name in `/dev/shm`.
    buffer
        The mapped bytes, writable.
    """

    def __init__(self, memory: shared_memory.SharedMemory) -> None:
        self._memory = memory
        self.name = memory.name
        buffer = memory.buf
        assert buffer is not None, "a segment that was just opened has a buffer"
        self.buffer: memoryview = buffer

    @classmethod
    def create(cls, server_id: str, kind: str, size: int) -> Self:
        """Make a zeroed segment of at least `size` bytes, all of them reserved.

        Raises
        ------
        ArenaFull
            When `/dev/shm` has no room for it; the message says how much was asked for.
        """
        name = f"{PREFIX}{server_id}-{kind}"
        try:
            memory = _open(name, create=True, size=size)
        except OSError as error:
            raise _no_room(name, size, error) from error
        if size >= HUGE_PAGE_BYTES:
            _map_at_once(memory)
        try:
            descriptor = os.open(f"{DIRECTORY}/{name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.posix_fallocate(descriptor, 0, size)
                if _group != NO_GROUP:
                    os.fchown(descriptor, -1, _group)
                    os.fchmod(descriptor, 0o660)
            finally:
                os.close(descriptor)
        except OSError as error:
            memory.close()
            unlink(name)
            raise _no_room(name, size, error) from error
        return cls(memory)

    @classmethod
    def attach(cls, name: str) -> Self:
        """Map an existing segment; `FileNotFoundError` when it is gone."""
        return cls(_open(name, create=False, size=0))

    def close(self) -> None:
        """Unmap. The native objects that look into the segment must be gone."""
        self.buffer = memoryview(b"")
        self._memory.close()

    def unlink(self) -> None:
        """Remove the name; mappings stay valid. Doing it twice is fine."""
        unlink(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def unlink(name: str) -> None:
    """Remove a segment's name; nothing happens when it is gone."""
    try:
        os.unlink(f"{DIRECTORY}/{name}")  # noqa: PTH108  Path costs an import at start
    except FileNotFoundError:
        return


def _no_room(name: str, size: int, error: OSError) -> ArenaFull:
    if error.errno in {errno.ENOSPC, errno.ENOMEM, errno.EFBIG}:
        free = free_bytes()
        return ArenaFull(
            f"no shared memory for '{name}': {size} bytes are needed and {free} are free in "
            f"{DIRECTORY}; enlarge it (a container's --shm-size) or lower the arena limits"
        )
    return ArenaFull(f"shared memory '{name}' of {size} bytes can not be made: {error}")


def free_bytes() -> int:
    """Return how much of the machine's shared memory is free."""
    state = os.statvfs(DIRECTORY)
    return state.f_bavail * state.f_frsize
