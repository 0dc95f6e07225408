"""The server's shared memory that lives as long as the server: board, completion rings, eventfds.

Owner: the supervisor makes it before any child is started and removes it after the last one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from mpserve.control.messages import SharedPlaces
from mpserve.settings import Settings
from mpserve.shm.board import Board
from mpserve.shm.completion_ring import MAX_RINGS, CompletionRing
from mpserve.shm.server_id import ServerIdentity, claim_server_id, release_server_id
from mpserve.shm.sweep import sweep_server
from mpserve.supervisor.unix_socket import NO_SOCKET

SUPERVISOR_INDEX = 0


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A process in the board."""

    index: int
    epoch: int


class CallerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as one that sends requests.

    Attributes
    ----------
    process
        Another one in the board than the worker itself: each has one arena.
    ring_index
        Its place among those who push into queues, behind the frontends'.
    """

    process: ProcessIdentity
    ring_index: int


class ServerMemory:
    """Board, rings and wake descriptors. Frontends have the process indices 1 to N."""

    def __init__(
        self,
        *,
        identity: ServerIdentity,
        board: Board,
        rings: tuple[CompletionRing, ...],
        wake_fds: tuple[int, ...],
        http_fd: int,
        settings: Settings,
    ) -> None:
        self.server_id = identity.server_id
        self.board = board
        self.rings = rings
        self.wake_fds = wake_fds
        self.http_fd = http_fd
        self._settings = settings
        self._free: set[int] = set()
        self._free_rings = set(range(len(rings), MAX_RINGS))
        self._next_index = SUPERVISOR_INDEX + 1 + len(rings)
        board.begin(SUPERVISOR_INDEX)

    def begin_frontend(self, frontend_index: int) -> ProcessIdentity:
        """Return the identity of a frontend that is about to start."""
        index = SUPERVISOR_INDEX + 1 + frontend_index
        return ProcessIdentity(index=index, epoch=self.board.begin(index))

    def ring_index(self, process: ProcessIdentity) -> int:
        """Return the place of a frontend among those who push into queues."""
        return process.index - SUPERVISOR_INDEX - 1

    def begin_worker(self) -> ProcessIdentity:
        """Return the identity of a worker that is about to start."""
        index = min(self._free, default=self._next_index)
        if index == self._next_index:
            self._next_index += 1
        else:
            self._free.remove(index)
        return ProcessIdentity(index=index, epoch=self.board.begin(index))

    def begin_caller(self) -> CallerIdentity | None:
        """Return the identity of a worker's calls; `None` when as many workers call as may."""
        ring = min(self._free_rings, default=None)
        if ring is None:
            return None
        self._free_rings.remove(ring)
        return CallerIdentity(process=self.begin_worker(), ring_index=ring)

    def end_caller(self, caller: CallerIdentity) -> None:
        """Note that a worker that called is dead and reaped."""
        self.end(caller.process)
        self._free_rings.add(caller.ring_index)

    def end(self, process: ProcessIdentity) -> None:
        """Note that the process is dead and reaped."""
        self.board.end(process.index)
        if process.index > len(self.rings):
            self._free.add(process.index)

    def places(self, process: ProcessIdentity) -> SharedPlaces:
        """Return what `process` is told at its start."""
        return SharedPlaces(
            server_id=self.server_id,
            board_segment=self.board.name,
            process_index=process.index,
            epoch=process.epoch,
            ring_segments=tuple(ring.name for ring in self.rings),
            wake_fds=self.wake_fds,
            arena_initial_bytes=self._settings.arena_initial_bytes,
            arena_max_bytes=self._settings.arena_max_bytes,
        )


@contextmanager
def claimed_identity() -> Iterator[ServerIdentity]:
    """Hold a new server id; whatever carries it in `/dev/shm` is removed at the end."""
    identity = claim_server_id()
    try:
        yield identity
    finally:
        sweep_server(identity.server_id)
        release_server_id(identity)


@contextmanager
def wake_descriptors(count: int) -> Iterator[tuple[int, ...]]:
    """Hold one eventfd for each frontend, which every process started later inherits."""
    fds = tuple(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count))
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def kept_descriptors(
    identity: ServerIdentity, wake_fds: tuple[int, ...], http_fd: int
) -> tuple[int, ...]:
    """Return what the spawner and its children do not close."""
    http = () if http_fd == NO_SOCKET else (http_fd,)
    return (identity.owner_fd, *wake_fds, *http)


@contextmanager
def server_memory(
    identity: ServerIdentity, wake_fds: tuple[int, ...], settings: Settings, *, http_fd: int
) -> Iterator[ServerMemory]:
    """Hold the board and the rings; their segments are removed at the end."""
    board = Board.create(identity.server_id)
    rings = tuple(
        CompletionRing.create(identity.server_id, index) for index in range(len(wake_fds))
    )
    try:
        yield ServerMemory(
            identity=identity,
            board=board,
            rings=rings,
            wake_fds=wake_fds,
            http_fd=http_fd,
            settings=settings,
        )
    finally:
        for ring in rings:
            ring.unlink()
        board.unlink()
