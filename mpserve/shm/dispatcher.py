"""A frontend's access to the shared memory of the server: requests out, answers in."""

from collections.abc import Callable

import msgspec

from mpserve._native import (
    BINARY_OUTPUTS_BY_DEFAULT,
    OUTPUT_BINARY,
    OUTPUT_BINARY_SET,
    SEQUENCE_END,
    SEQUENCE_START,
    Answer,
    Dispatcher,
    QueuePort,
    Route,
)
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.completion_ring import CompletionRing

__all__ = [
    "BINARY_OUTPUTS_BY_DEFAULT",
    "OUTPUT_BINARY",
    "OUTPUT_BINARY_SET",
    "SEQUENCE_END",
    "SEQUENCE_START",
    "Answer",
    "Dispatcher",
    "DispatcherPlaces",
    "QueuePort",
    "Route",
    "open_dispatcher",
]


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
    places: DispatcherPlaces, *, call_soon: Callable[[Callable[[], None]], object]
) -> Dispatcher:
    """Map what a frontend needs and return its dispatcher, without routes.

    The mappings live as long as the dispatcher. Raises `FileNotFoundError` when a segment is gone:
    the server ended.

    Parameters
    ----------
    call_soon
        The loop's: `flush` runs at the end of the turn in which requests were submitted.
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
    )
