"""Which states were left and entered between two looks at a model. Pure.

Generations are told as a whole. Instances are told while their generation serves: then one of them
may die, start again, come or go alone.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from mpserve.lifecycle.actions import Action, BeginOperation
from mpserve.lifecycle.actual import (
    GenerationRecord,
    InstancePhase,
    InstanceRecord,
    ModelRecord,
)
from mpserve.lifecycle.events import Event
from mpserve.lifecycle.reasons import UNLOADED
from mpserve.lifecycle.transitions import Phase
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version
from mpserve.model.state import ModelState


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One change of state; `instance` is `None` when the whole generation is meant."""

    version: Version
    generation: Generation
    instance: int | None = None
    from_state: ModelState | None
    to: ModelState
    why: str = ""


_OF_PHASE: Final = {
    Phase.QUEUED: ModelState.LOADING,
    Phase.LOADING: ModelState.LOADING,
    Phase.LOADED: ModelState.LOADING,
    Phase.FAILED: ModelState.UNAVAILABLE,
    Phase.SERVING: ModelState.READY,
    Phase.WITHDRAWN: ModelState.UNLOADING,
    Phase.LINGERING: ModelState.UNLOADING,
    Phase.DRAINING: ModelState.UNLOADING,
}
_OF_INSTANCE: Final = {
    InstancePhase.PENDING: ModelState.LOADING,
    InstancePhase.STARTING: ModelState.LOADING,
    InstancePhase.READY: ModelState.READY,
    InstancePhase.SURPLUS: ModelState.UNLOADING,
    InstancePhase.STOPPING: ModelState.UNLOADING,
    InstancePhase.RESTING: ModelState.UNAVAILABLE,
    InstancePhase.GIVEN_UP: ModelState.UNAVAILABLE,
}


def transitions(before: ModelRecord | None, after: ModelRecord) -> tuple[Transition, ...]:
    """Return what changed, generations first, each before its instances."""
    if before is after:
        return ()
    known = {} if before is None else {one.generation: one for one in before.generations}
    found: list[Transition] = []
    for record in after.generations:
        earlier = known.pop(record.generation, None)
        if earlier is not record:
            found += _of_generation(earlier, record)
            found += _of_instances(earlier, record)
    for gone in known.values():
        found += _removed(gone)
    return tuple(found)


def _of_generation(
    before: GenerationRecord | None, after: GenerationRecord
) -> Iterator[Transition]:
    was, is_now = (None if before is None else _state(before)), _state(after)
    if was is not is_now:
        yield Transition(
            version=after.version.version,
            generation=after.generation,
            from_state=was,
            to=is_now,
            why=after.failure.message if after.failure is not None else "",
        )


def _state(record: GenerationRecord) -> ModelState:
    """One that failed to load has nothing to unload: it stays `UNAVAILABLE` until it is gone."""
    is_leaving = record.phase in {Phase.WITHDRAWN, Phase.LINGERING, Phase.DRAINING}
    if is_leaving and record.failure is not None:
        return ModelState.UNAVAILABLE
    return _OF_PHASE[record.phase]


def _removed(gone: GenerationRecord) -> Iterator[Transition]:
    if _state(gone) is not ModelState.UNAVAILABLE:
        yield Transition(
            version=gone.version.version,
            generation=gone.generation,
            from_state=_state(gone),
            to=ModelState.UNAVAILABLE,
            why=UNLOADED,
        )


def _of_instances(before: GenerationRecord | None, after: GenerationRecord) -> Iterator[Transition]:
    if before is None or before.phase is not Phase.SERVING or after.phase is not Phase.SERVING:
        return
    known = {one.key: one for one in before.instances}
    for instance in after.instances:
        earlier = known.pop(instance.key, None)
        if earlier is not instance:
            yield from _of_instance(earlier, instance)
    for gone in known.values():
        yield _instance_transition(gone, _OF_INSTANCE[gone.phase], ModelState.UNAVAILABLE, UNLOADED)


def _of_instance(before: InstanceRecord | None, after: InstanceRecord) -> Iterator[Transition]:
    was = None if before is None else _OF_INSTANCE[before.phase]
    is_now = _OF_INSTANCE[after.phase]
    if was is not is_now:
        why = after.failure.message if after.failure is not None else ""
        yield _instance_transition(after, was, is_now, why)


def _instance_transition(
    instance: InstanceRecord, was: ModelState | None, is_now: ModelState, why: str
) -> Transition:
    return Transition(
        version=instance.key.version,
        generation=instance.key.generation,
        instance=instance.key.index,
        from_state=was,
        to=is_now,
        why=why,
    )


def model_of(happened: Event | Action) -> ModelName | None:
    """Return the model that an event or action is about; `None` for a routing table."""
    if isinstance(happened, BeginOperation):
        return happened.wish.name
    instance: InstanceKey | None = getattr(happened, "instance", None)
    name: ModelName | None = getattr(happened, "name", None)
    return name if instance is None else instance.name
