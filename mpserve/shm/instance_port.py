"""One model instance's access to the shared memory of the server: requests in, answers out."""

import msgspec

from mpserve._native import InstancePort
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.model_queue import ModelQueue

__all__ = ["InstancePlaces", "InstancePort", "InstanceRule", "open_instance_port"]


class InstancePlaces(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance finds what it shares with others.

    Attributes
    ----------
    board_segment, queue_segment, ring_segments
        Names of segments; the rings in the order of the frontends, as their `wake_fds`.
    instance_slot
        Index in the queue's table of instances.
    """

    server_id: str
    process_index: int
    epoch: int
    board_segment: str
    queue_segment: str
    ring_segments: tuple[str, ...]
    wake_fds: tuple[int, ...]
    arena_initial_bytes: int
    arena_max_bytes: int
    instance_slot: int


class InstanceRule(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance may take and answer.

    Attributes
    ----------
    output_names
        Outputs that the configuration declares; others are dropped unless `open_outputs`.
    absent_parameters
        What a request without parameters says of them.
    max_requests, max_rows
        Bounds of one batch, at least 1.
    """

    instance_name: str
    model_name: str
    model_version: str
    output_names: tuple[str, ...]
    open_outputs: bool
    absent_parameters: str
    max_requests: int
    max_rows: int


def open_instance_port(places: InstancePlaces, rule: InstanceRule) -> InstancePort:
    """Map what an instance needs and return its port, not yet activated.

    The mappings live as long as the port. Raises `FileNotFoundError` when a segment is gone: the
    server ended.
    """
    segments = ArenaSegments(places.server_id, places.process_index, places.epoch)
    return InstancePort(
        board=Board.attach(places.board_segment).native,
        process_index=places.process_index,
        epoch=places.epoch,
        queue=ModelQueue.attach(places.queue_segment).native,
        instance_slot=places.instance_slot,
        arena=open_arena(
            segments,
            initial_bytes=places.arena_initial_bytes,
            max_bytes=places.arena_max_bytes,
        ),
        rings=[CompletionRing.attach(name).native for name in places.ring_segments],
        wake_fds=list(places.wake_fds),
        attach=segments.attach,
        instance_name=rule.instance_name,
        model_name=rule.model_name,
        model_version=rule.model_version,
        output_names=list(rule.output_names),
        open_outputs=rule.open_outputs,
        absent_parameters=rule.absent_parameters,
        max_requests=rule.max_requests,
        max_rows=rule.max_rows,
    )
