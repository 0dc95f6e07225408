"""One model instance's access to the shared memory of the server: requests in, answers out."""

from collections.abc import Iterable

import msgspec

from mpserve._native import InstancePort
from mpserve.model.sequence import SequenceControl
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.client_region import region_prefix
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.model_queue import ModelQueue
from mpserve.shm.rate_limiter import RateLimiter

__all__ = [
    "BatchRule",
    "InstancePlaces",
    "InstancePort",
    "InstanceRule",
    "native_controls",
    "open_instance_port",
]

NativeControl = tuple[str, str, str, bool, bytes, bytes]
NativeReshape = tuple[str, tuple[int, ...], tuple[int, ...]]
"""Name, shape that comes, and shape in its place; -1 for free sizes, equal in their order."""


class InstancePlaces(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance finds what it shares with others.

    Attributes
    ----------
    board_segment, queue_segment, ring_segments
        Names of segments; the rings in the order of the frontends, as their `wake_fds`.
    instance_slot
        Index in the queue's table of instances.
    limiter_segment
        Of the rate limiter; "" for none.
    expects_answers
        Its arena has its first segment before the first answer, which would wait for it.
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
    limiter_segment: str = ""
    expects_answers: bool = False


class BatchRule(msgspec.Struct, frozen=True, kw_only=True):
    """How waiting requests are put together; each bound at least 1.

    Attributes
    ----------
    max_requests, max_rows
        Bounds of one batch. A request with more rows is executed alone.
    preferred_rows
        Sizes at which a batch waits no longer; none means `max_rows` alone.
    max_delay_us
        How long the oldest request may wait for company; 0 means that a batch never waits.
    ready_slots
        Sequences with a row each: a batch waits no longer once so many have a request; 0 when rows
        have no fixed place.
    """

    max_requests: int = 1
    max_rows: int = 1
    preferred_rows: tuple[int, ...] = ()
    max_delay_us: int = 0
    ready_slots: int = 0


class InstanceRule(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance may take and answer.

    Attributes
    ----------
    output_names
        Outputs that the configuration declares; others are dropped unless `open_outputs`.
    absent_parameters
        What a request without parameters says of them.
    ordered
        Answers of all instances leave in the order in which their requests came.
    decoupled
        Requests are answered by their senders, any number of times.
    batches
        The first dimension of a tensor is the batch's.
    controls
        Inputs that are added to each request of a model with sequences.
    sequence_slots
        Sequences that the instance holds at once; 0 for a model without.
    state_outputs
        Outputs that the server keeps for the next request of a sequence.
    input_reshapes, output_reshapes
        Inputs that the model knows by another shape than clients, and outputs likewise.
    """

    instance_name: str
    model_name: str
    model_version: str
    output_names: tuple[str, ...]
    open_outputs: bool
    absent_parameters: str
    batch: BatchRule
    ordered: bool = False
    decoupled: bool = False
    batches: bool = False
    controls: tuple[SequenceControl, ...] = ()
    sequence_slots: int = 0
    state_outputs: tuple[str, ...] = ()
    input_reshapes: tuple[NativeReshape, ...] = ()
    output_reshapes: tuple[NativeReshape, ...] = ()


def native_controls(controls: Iterable[SequenceControl], *, batches: bool) -> list[NativeControl]:
    """Return control inputs as the core takes them."""
    return [
        (
            one.name,
            one.kind.value,
            one.datatype.name,
            batches,
            one.when_false,
            one.when_true,
        )
        for one in controls
    ]


def open_instance_port(places: InstancePlaces, rule: InstanceRule) -> InstancePort:
    """Map what an instance needs and return its port, not yet activated.

    The mappings live as long as the port. Raises `FileNotFoundError` when a segment is gone: the
    server ended.
    """
    segments = ArenaSegments(places.server_id, places.process_index, places.epoch)

    arena = open_arena(
        segments, initial_bytes=places.arena_initial_bytes, max_bytes=places.arena_max_bytes
    )
    if places.expects_answers:
        arena.prepare()

    def attach_ring(process_index: int, epoch: int) -> object:
        return CompletionRing.attach_of_caller(places.server_id, process_index, epoch).native

    port = InstancePort(
        board=Board.attach(places.board_segment).native,
        process_index=places.process_index,
        epoch=places.epoch,
        queue=ModelQueue.attach(places.queue_segment).native,
        instance_slot=places.instance_slot,
        arena=arena,
        rings=[CompletionRing.attach(name).native for name in places.ring_segments],
        wake_fds=list(places.wake_fds),
        attach=segments.attach,
        attach_ring=attach_ring,
        instance_name=rule.instance_name,
        model_name=rule.model_name,
        model_version=rule.model_version,
        output_names=list(rule.output_names),
        open_outputs=rule.open_outputs,
        absent_parameters=rule.absent_parameters,
        region_prefix=region_prefix(places.server_id),
        max_requests=rule.batch.max_requests,
        max_rows=rule.batch.max_rows,
        preferred_rows=list(rule.batch.preferred_rows),
        max_delay_us=rule.batch.max_delay_us,
        ready_slots=rule.batch.ready_slots,
        controls=native_controls(rule.controls, batches=rule.batches),
        sequence_slots=rule.sequence_slots,
        state_outputs=list(rule.state_outputs),
        input_reshapes=list(rule.input_reshapes),
        output_reshapes=list(rule.output_reshapes),
    )
    port.set_decoupled(rule.decoupled)
    port.set_ordered(rule.ordered)
    if places.limiter_segment:
        port.set_limiter(RateLimiter.attach(places.limiter_segment).native)
    return port
