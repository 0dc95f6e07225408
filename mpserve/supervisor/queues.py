"""The queue of a generation that is about to load, as its configuration wants it."""

from mpserve.lifecycle.actual import GenerationRecord
from mpserve.scheduling.queue_slots import queue_slots
from mpserve.scheduling.waiting_limit import with_waiting_limit
from mpserve.settings import Settings
from mpserve.shm.model_queue import CallerRing, ModelQueue
from mpserve.supervisor.shared_places import ServerMemory
from mpserve.telemetry.latencies import latency_rule

ENSEMBLE_SLOTS = 1  # an ensemble only counts in its queue


def make_queue(
    record: GenerationRecord,
    settings: Settings,
    *,
    memory: ServerMemory,
    caller_ring: CallerRing,
) -> ModelQueue:
    """Make it; raises `ArenaFull` when there is no room.

    Parameters
    ----------
    caller_ring
        Where requests of workers are answered.
    """
    config = record.config
    bounded = with_waiting_limit(config, settings)
    return ModelQueue.create(
        memory.server_id,
        record.generation,
        rings=memory.rings,
        wake_fds=memory.wake_fds,
        slots=ENSEMBLE_SLOTS
        if record.is_ensemble
        else queue_slots(bounded, default=settings.queue_slots),
        caller_ring=caller_ring,
        sequences=config.sequences,
        latencies=latency_rule(config, settings),
    )
