"""What is, after something happened to an instance, or was asked of it; as `observation`."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.actions import (
    Action,
    KillInstance,
    StartInstance,
    StopInstance,
)
from mpserve.lifecycle.actual import (
    Actual,
    GenerationRecord,
    InstancePhase,
    InstanceRecord,
)
from mpserve.lifecycle.events import (
    Event,
    InstanceChecked,
    InstanceEnded,
    InstanceFailed,
    InstanceReady,
)
from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns
from mpserve.lifecycle.transitions import Phase, Turn, next_phase
from mpserve.model.identity import InstanceKey

replace = msgspec.structs.replace


def _started(actual: Actual, action: StartInstance) -> Actual:
    return _with_instance(
        actual,
        action.instance,
        lambda one: replace(
            one,
            phase=InstancePhase.STARTING,
            deadline_ns=action.deadline_ns,
            failure=None,
            complaint="",
        ),
    )


def _stopped(actual: Actual, action: StopInstance) -> Actual:
    return _with_instance(
        actual,
        action.instance,
        lambda one: replace(one, phase=InstancePhase.STOPPING, deadline_ns=action.deadline_ns),
    )


def _killed(actual: Actual, action: KillInstance) -> Actual:
    """One that was asked to end before has ended as asked, only not by itself."""
    key = action.instance
    model = actual.models.get(key.name)
    record = model.generation(key.generation) if model is not None else None
    instance = record.instance(key) if record is not None else None
    if instance is None or instance.phase is not InstancePhase.STOPPING:
        actual = _load_broken(actual, key, action.failure)
    return _with_instance(actual, key, lambda one: replace(one, deadline_ns=0))


def _checked_itself(actual: Actual, event: InstanceChecked) -> Actual:
    return _with_instance(
        actual, event.instance, lambda one: replace(one, complaint=event.complaint)
    )


def _failed(actual: Actual, event: InstanceFailed) -> Actual:
    return _load_broken(actual, event.instance, event.failure)


def _load_broken(actual: Actual, key: InstanceKey, failure: Failure) -> Actual:
    """The process is still there until its deadline, but nothing is expected of it any more."""

    def change(record: GenerationRecord) -> GenerationRecord:
        instances = tuple(
            replace(one, phase=InstancePhase.STOPPING, failure=failure)
            if one.key == key and one.has_process
            else one
            for one in record.instances
        )
        broken = record.failure
        if record.phase is Phase.LOADING:
            broken = broken or failure
        return replace(record, instances=instances, failure=broken)

    return actual.with_changed(key.name, key.generation, change)


def _ready(actual: Actual, event: InstanceReady) -> Actual:
    key = event.instance

    def change(record: GenerationRecord) -> GenerationRecord:
        instances = tuple(
            replace(one, phase=InstancePhase.READY)
            if one.key == key and one.phase is InstancePhase.STARTING
            else one
            for one in record.instances
        )
        ready = replace(record, instances=instances)
        if not record.is_completed:
            ready = replace(
                ready, config=event.config, config_json=event.config_json, is_completed=True
            )
        if (
            record.phase is Phase.LOADING
            and record.failure is None
            and all(one.phase is InstancePhase.READY for one in instances)
        ):
            ready = replace(ready, phase=next_phase(record.phase, Turn.LOAD))
        return ready

    return actual.with_changed(key.name, key.generation, change)


def ended(actual: Actual, event: InstanceEnded, *, policy: RestartPolicy) -> Actual:
    """Return `actual` after a process ended; a serving instance rests until its next start."""
    key = event.instance
    model = actual.models.get(key.name)
    record = model.generation(key.generation) if model is not None else None
    instance = record.instance(key) if record is not None else None
    if model is None or record is None or instance is None:
        return actual
    if event.is_unborn and instance.phase is InstancePhase.STARTING:
        after: InstanceRecord | None = replace(instance, phase=InstancePhase.PENDING)
    elif record.phase is Phase.SERVING:
        added = model.operation.additions if model.operation is not None else ()
        after = _after_death(instance, event, policy=policy, is_addition=key in added)
    elif record.phase in {Phase.WITHDRAWN, Phase.LINGERING, Phase.DRAINING}:
        after = None
    else:
        record = _after_load_broke(record, instance, event)
        after = replace(instance, phase=InstancePhase.PENDING)
    kept = tuple(
        one
        for one in (after if each.key == key else each for each in record.instances)
        if one is not None
    )
    return actual.with_model(model.with_generation(replace(record, instances=kept)))


def _after_load_broke(
    record: GenerationRecord, instance: InstanceRecord, event: InstanceEnded
) -> GenerationRecord:
    failure = record.failure or instance.failure or event.failure
    if record.phase is Phase.LOADED:
        return replace(record, phase=next_phase(record.phase, Turn.FAIL), failure=failure)
    return replace(record, failure=failure)


def _after_death(
    instance: InstanceRecord, event: InstanceEnded, *, policy: RestartPolicy, is_addition: bool
) -> InstanceRecord | None:
    """Return a serving generation's instance after its process ended; `None`: it was meant to."""
    asked = instance.phase is InstancePhase.SURPLUS or (
        instance.phase is InstancePhase.STOPPING and instance.failure is None
    )
    if asked:
        return None
    failure = instance.failure or event.failure
    if is_addition and instance.phase is not InstancePhase.READY:
        return replace(instance, phase=InstancePhase.GIVEN_UP, failure=failure)
    deaths = record_death(instance.deaths, now_ns=event.at_ns, policy=policy)
    again_ns = restart_at_ns(deaths, policy=policy)
    if again_ns is None:
        return replace(
            instance, phase=InstancePhase.GIVEN_UP, deaths=Deaths(), failure=_given_up(failure)
        )
    return replace(
        instance,
        phase=InstancePhase.RESTING,
        deaths=deaths,
        restart_at_ns=again_ns,
        failure=failure,
    )


def _given_up(failure: Failure) -> Failure:
    return Failure(
        code=ErrorCode.UNAVAILABLE,
        message=f"not restarted after dying too often: {failure.message}",
    )


def _with_instance(
    actual: Actual, key: InstanceKey, change: Callable[[InstanceRecord], InstanceRecord]
) -> Actual:
    def change_generation(record: GenerationRecord) -> GenerationRecord:
        return replace(
            record,
            instances=tuple(change(one) if one.key == key else one for one in record.instances),
        )

    return actual.with_changed(key.name, key.generation, change_generation)


# As of `observation`'s table.
INSTANCE_OBSERVERS: Final[dict[type[Event | Action], Callable[[Actual, Any], Actual]]] = {
    StartInstance: _started,
    StopInstance: _stopped,
    KillInstance: _killed,
    InstanceReady: _ready,
    InstanceChecked: _checked_itself,
    InstanceFailed: _failed,
}
