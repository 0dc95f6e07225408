"""A frontend's access to the shared memory of the server: requests out, answers in.

A worker that calls models has the same, with a completion ring that it makes itself.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from mpserve._native import (
    BINARY_OUTPUTS_BY_DEFAULT,
    HANDLER_CALL,
    MORE_INPUTS,
    OUTPUT_BINARY,
    OUTPUT_BINARY_SET,
    SEQUENCE_END,
    SEQUENCE_START,
    TAKES_MANY,
    Answer,
    Dispatcher,
    QueuePort,
    Route,
)
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.client_region import RegionTable
from mpserve.shm.completion_ring import CompletionRing
from mpserve.telemetry import log

__all__ = [
    "BINARY_OUTPUTS_BY_DEFAULT",
    "HANDLER_CALL",
    "MORE_INPUTS",
    "OUTPUT_BINARY",
    "OUTPUT_BINARY_SET",
    "SEQUENCE_END",
    "SEQUENCE_START",
    "TAKES_MANY",
    "Answer",
    "CallerDispatcher",
    "CallerPlaces",
    "Dispatcher",
    "DispatcherPlaces",
    "QueuePort",
    "Route",
    "open_caller_dispatcher",
    "open_dispatcher",
]


NO_WAKE_FD: Final = -1  # who sleeps on the ring itself
# Of a frontend; half of it of one model, as many as it has clients unless told otherwise.
MAX_IN_FLIGHT: Final = 1 << 15


class DispatcherPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """Where a frontend finds what it shares with others.

    Attributes
    ----------
    frontend_index
        Which of the server's rings is its own.
    wake_fd
        Eventfd that says that the ring has answers.
    """

    server_id: str
    process_index: int
    epoch: int
    frontend_index: int
    board_segment: str
    ring_segment: str
    wake_fd: int
    arena_initial_bytes: int
    arena_max_bytes: int


def open_dispatcher(
    places: DispatcherPlaces,
    *,
    call_soon: Callable[[Callable[[], None]], object],
    call_later: Callable[[float, Callable[[], None]], object],
    regions: RegionTable,
    max_in_flight: int = MAX_IN_FLIGHT,
) -> Dispatcher:
    """Map what a frontend needs and return its dispatcher, without routes.

    The mappings live as long as the dispatcher. Raises `FileNotFoundError` when a segment is gone:
    the server ended.

    Parameters
    ----------
    call_soon
        The loop's: `flush` runs at the end of the turn in which requests were submitted.
    call_later
        The loop's: looks after requests that may wait only so many seconds.
    regions
        What clients registered.
    max_in_flight
        Requests that it takes at once; a model without a `max_queue_size` has half of them.
    """
    segments = ArenaSegments(places.server_id, places.process_index, places.epoch)
    return Dispatcher(
        board=Board.attach(places.board_segment).native,
        process_index=places.process_index,
        epoch=places.epoch,
        frontend_index=places.frontend_index,
        arena=open_arena(
            segments,
            initial_bytes=places.arena_initial_bytes,
            max_bytes=places.arena_max_bytes,
        ),
        ring=CompletionRing.attach(places.ring_segment).native,
        wake_fd=places.wake_fd,
        attach=segments.attach,
        call_soon=call_soon,
        call_later=call_later,
        on_restarted=_tell_restart,
        regions=regions,
        max_in_flight=max_in_flight,
    )


class CallerPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker that calls models finds what it shares with others.

    Attributes
    ----------
    process_index, epoch
        Identity of its calls in the board: another one than the worker's own, because each identity
        has one arena.
    ring_index
        Its place among those who push into queues, behind the frontends'.
    """

    server_id: str
    process_index: int
    epoch: int
    ring_index: int
    board_segment: str
    arena_initial_bytes: int
    arena_max_bytes: int


class CallerDispatcher(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatcher and the ring on which its owner sleeps."""

    dispatcher: Dispatcher
    ring: CompletionRing


def open_caller_dispatcher(
    places: CallerPlaces,
    *,
    call_soon: Callable[[Callable[[], None]], object],
    call_later: Callable[[float, Callable[[], None]], object],
) -> CallerDispatcher:
    """Make the ring of a worker that calls models, and return its dispatcher, without routes.

    Raises
    ------
    ArenaFull
        There is no room for the ring.
    """
    ring = CompletionRing.create_for_caller(places.server_id, places.process_index, places.epoch)
    segments = ArenaSegments(places.server_id, places.process_index, places.epoch)
    dispatcher = Dispatcher(
        board=Board.attach(places.board_segment).native,
        process_index=places.process_index,
        epoch=places.epoch,
        frontend_index=places.ring_index,
        arena=open_arena(
            segments,
            initial_bytes=places.arena_initial_bytes,
            max_bytes=places.arena_max_bytes,
        ),
        ring=ring.native,
        wake_fd=NO_WAKE_FD,
        attach=segments.attach,
        call_soon=call_soon,
        call_later=call_later,
        on_restarted=_tell_restart,
    )
    return CallerDispatcher(dispatcher=dispatcher, ring=ring)


def _tell_restart(model: str, sequence: str) -> None:
    """Warn, as Triton does, of a sequence that is begun anew before it has ended."""
    log.warning("sequence.restarted", model=model, sequence=sequence)
