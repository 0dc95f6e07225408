"""The server's shared memory that lives as long as the server: board and completion rings.

Owner: the first supervisor makes it before any child is started; those that take over go on with
it. The root removes it after the last process.
"""

import msgspec

from mpserve.control.messages import SharedPlaces
from mpserve.model.config import InstanceGroup
from mpserve.model.rate_limit import read_limits
from mpserve.settings import RateLimitMode, Settings
from mpserve.shm.board import Board
from mpserve.shm.completion_ring import MAX_RINGS, CompletionRing
from mpserve.shm.rate_limiter import RateLimiter
from mpserve.shm.segment import share_with
from mpserve.shm.sweep import sweep_segments
from mpserve.shm.trace_board import TraceBoard
from mpserve.shm.traffic_board import TrafficBoard, counts_traffic
from mpserve.supervisor.inheritance import Inheritance
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


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """Indices in the board, and places among those who push, that processes have already."""

    indices: frozenset[int] = frozenset()
    rings: frozenset[int] = frozenset()


class ServerMemory:
    """Board, rings and wake descriptors. Frontends have the process indices 1 to N."""

    def __init__(
        self,
        *,
        inheritance: Inheritance,
        board: Board,
        rings: tuple[CompletionRing, ...],
        limiter: RateLimiter | None,
        traces: TraceBoard,
        traffic: TrafficBoard | None,
        settings: Settings,
        taken: Taken,
    ) -> None:
        self.identity = inheritance.identity
        self.server_id = inheritance.identity.server_id
        self.board = board
        self.rings = rings
        self.limiter = limiter
        self.traces = traces
        self.traffic = traffic
        self.wake_fds = inheritance.wake_fds
        self.http_fd = inheritance.http_fd
        self.is_http_fd_lent = inheritance.is_http_fd_lent
        self.grpc_fd = inheritance.grpc_fd
        self.is_grpc_fd_lent = inheritance.is_grpc_fd_lent
        self.metrics_fd = inheritance.metrics_fd
        self.listeners = tuple(fd for fd in (self.http_fd, self.grpc_fd) if fd != NO_SOCKET)
        self._door_fd = inheritance.door_fd
        self._settings = settings
        first = SUPERVISOR_INDEX + 1 + len(rings)
        self._next_index = max((*(index + 1 for index in taken.indices), first))
        self._free = set(range(first, self._next_index)) - taken.indices
        self._free_rings = set(range(len(rings), MAX_RINGS)) - taken.rings

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

    def enrol(self, process: ProcessIdentity, group: InstanceGroup) -> None:
        """Note what the executions of a worker that is about to start take; raises `LoadError`."""
        if self.limiter is not None:
            limits = read_limits(self._settings.rate_limit_resources)
            index, epoch = process.index, process.epoch
            self.limiter.enrol(group, limits, process_index=index, epoch=epoch)

    def end(self, process: ProcessIdentity) -> None:
        """Note that the process is dead and reaped."""
        self.board.end(process.index)
        if self.limiter is not None:
            self.limiter.withdraw(process.index)
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
            door_fd=self._door_fd,
        )


def server_memory(
    inheritance: Inheritance, settings: Settings, *, taken: Taken | None
) -> ServerMemory:
    """Return the board and the rings; the root removes their segments at the end.

    Parameters
    ----------
    taken
        What children of an earlier supervisor have: the memory is there already. `None` for a new
        server.

    Raises
    ------
    ArenaFull
        There is no room for what every server needs.
    """
    server_id = inheritance.identity.server_id
    if settings.worker_user is not None:
        share_with(settings.worker_user.gid)
    indices = range(len(inheritance.wake_fds))
    if taken is None:
        sweep_segments(server_id)  # of a supervisor that died while it made them
        board = Board.create(server_id)
        rings = tuple(CompletionRing.create(server_id, index) for index in indices)
        board.begin(SUPERVISOR_INDEX)
    else:
        board = Board.attach(Board.segment_name(server_id))
        rings = tuple(
            CompletionRing.attach(CompletionRing.segment_name(server_id, index))
            for index in indices
        )
    return ServerMemory(
        inheritance=inheritance,
        board=board,
        rings=rings,
        limiter=_limiter(server_id, settings, is_new=taken is None),
        traces=TraceBoard.create(server_id) if taken is None else TraceBoard.attach(server_id),
        traffic=_traffic(server_id, settings, areas=len(rings), is_new=taken is None),
        settings=settings,
        taken=taken or Taken(),
    )


def _limiter(server_id: str, settings: Settings, *, is_new: bool) -> RateLimiter | None:
    if settings.rate_limit is RateLimitMode.OFF:
        return None
    if is_new:
        return RateLimiter.create(server_id)
    return RateLimiter.attach(RateLimiter.segment_name(server_id))


def _traffic(
    server_id: str, settings: Settings, *, areas: int, is_new: bool
) -> TrafficBoard | None:
    if not counts_traffic(settings):
        return None
    return TrafficBoard.create(server_id, areas) if is_new else TrafficBoard.attach(server_id)
