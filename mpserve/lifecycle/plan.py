"""The decision: from what is wanted and what is to what to do next.

    while actions := plan(wanted, actual, now_ns=now_ns, limits=limits):
        for action in actions:
            actual = observe(actual, action, policy=policy)
            effects.carry_out(action)

Guarantees
    The loop above ends. What serves goes on serving until what replaces it has loaded and all
    frontends know it. At most `Limits.loading_versions` versions load at once. A publish comes
    after everything else that can be decided, so that changes of one moment share one table.
"""

from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Final

import msgspec

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.actions import (
    AbortOperation,
    Action,
    AdmitGeneration,
    BeginOperation,
    CheckFolder,
    CommitOperation,
    FailGeneration,
    KillInstance,
    LingerGeneration,
    PublishTable,
    RemoveGeneration,
    RetireGeneration,
    RetryGeneration,
    SettleWish,
    StartInstance,
    StopInstance,
    WithdrawGeneration,
)
from mpserve.lifecycle.actual import (
    Actual,
    GenerationRecord,
    InstancePhase,
    InstanceRecord,
    ModelRecord,
    earlier_generations,
)
from mpserve.lifecycle.graph import assemblies, reviews
from mpserve.lifecycle.operation import failures, is_concluded
from mpserve.lifecycle.operation_record import Check, Operation
from mpserve.lifecycle.reasons import changed_failure, load_failure, misfit_failure
from mpserve.lifecycle.transitions import Phase
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.event import Origin
from mpserve.model.identity import Generation, ModelName

_SECOND_NS: Final = 1_000_000_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds that the operator sets.

    Attributes
    ----------
    loading_versions
        How many versions load at once; at least 1.
    retries
        Further attempts after a load that failed.
    load_timeout_ns
        How long one worker may load.
    drain_timeout_ns
        How long a worker that is not needed any more may go on with what it has, and before that,
        how long sequences may go on in a generation that was replaced; 0 for ever.
    """

    loading_versions: int = 4
    retries: int = 0
    load_timeout_ns: int = 600 * _SECOND_NS
    drain_timeout_ns: int = 600 * _SECOND_NS


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What all decisions of one plan share."""

    now_ns: int
    acknowledged: int
    held: frozenset[Generation]
    stopping: bool
    limits: Limits


SHUTDOWN: Final = Failure(
    code=ErrorCode.UNAVAILABLE, message="the server is stopping; the load was given up"
)


def plan(wanted: Wanted, actual: Actual, *, now_ns: int, limits: Limits) -> tuple[Action, ...]:
    """Return what can be done now; empty when there is nothing until the next event.

    Parameters
    ----------
    now_ns
        Monotonic clock.
    """
    moment = Moment(
        now_ns=now_ns,
        acknowledged=actual.acknowledged,
        held=actual.held,
        stopping=wanted.stopping,
        limits=limits,
    )
    begun = tuple(_new_wishes(wanted, actual))
    if begun:  # what they change is planned on in the next turn of the caller's loop
        return begun
    actions: list[Action] = []
    # Those that wait for their turn have nothing else to decide, and there may be many.
    active = actual.unsteady | actual.waiting if wanted.stopping else actual.unsteady
    for name in sorted(active):
        actions += _for_model(actual.models[name], moment)
    actions += _admissions(actual, moment)
    if not wanted.stopping:
        actions += assemblies(wanted, actual)
        actions += () if actions else reviews(wanted, actual)
    if not actions and actual.changed:
        actions.append(PublishTable(number=actual.table_number + 1, names=actual.changed))
    return tuple(actions)


def next_moment_ns(wanted: Wanted, actual: Actual) -> int | None:
    """Return when `plan` has to be asked again though nothing happened; `None` for never."""
    records = [one for name in actual.unsteady for one in actual.models[name].generations]
    moments = [
        at_ns
        for record in records
        for one in record.instances
        if (at_ns := _moment_of(record, one, stopping=wanted.stopping)) is not None
    ]
    moments += [
        one.linger_until_ns
        for one in records
        if one.phase is Phase.LINGERING and one.linger_until_ns
    ]
    return min(moments, default=None)


_WITH_DEADLINES: Final = frozenset(
    {Phase.LOADING, Phase.FAILED, Phase.SERVING, Phase.LINGERING, Phase.DRAINING}
)


def _moment_of(record: GenerationRecord, instance: InstanceRecord, *, stopping: bool) -> int | None:
    if instance.phase in _LIMITED and instance.deadline_ns:
        return instance.deadline_ns if record.phase in _WITH_DEADLINES else None
    is_resting = record.phase is Phase.SERVING and instance.phase is InstancePhase.RESTING
    return instance.restart_at_ns if is_resting and not stopping else None


# --- wishes --------------------------------------------------------------------------------------


def _new_wishes(wanted: Wanted, actual: Actual) -> Iterator[Action]:
    for name in wanted.wishes if wanted.stopping else sorted(wanted.open):
        wish, model = wanted.wishes[name], actual.models.get(name)
        if model is not None and model.operation is not None:
            continue
        if model is None or wish.number > model.settled:
            yield BeginOperation(wish=_unloading(wish) if wanted.stopping else wish)
        elif wanted.stopping and any(one.phase is Phase.SERVING for one in model.generations):
            yield BeginOperation(wish=_unloading(wish))


def _unloading(wish: Wish) -> Wish:
    return msgspec.structs.replace(wish, definition=None, origin=Origin.SHUTDOWN)


def _for_model(model: ModelRecord, moment: Moment) -> Iterator[Action]:
    """A step of the operation changes the generations, so it comes alone."""
    step = _next_step(model, model.operation, moment) if model.operation is not None else None
    if step is not None:
        yield step
        return
    for record in model.generations:
        yield from _FOR_PHASE[record.phase](model, record, moment)


def _next_step(model: ModelRecord, operation: Operation, moment: Moment) -> Action | None:
    if operation.published_in is not None:
        if moment.acknowledged < operation.published_in:
            return None
        return SettleWish(name=model.name, number=operation.wish, failure=operation.failure)
    if moment.stopping and operation.definition is not None:
        return AbortOperation(name=model.name, failure=SHUTDOWN)
    return _conclusion(model, operation) if is_concluded(model, operation) else None


def _conclusion(model: ModelRecord, operation: Operation) -> Action | None:
    failed = failures(model, operation)
    if not failed:
        return _publication(model.name, operation)
    if model.misfit is not None:
        return AbortOperation(
            name=model.name, failure=misfit_failure(model.name, model.misfit.failure)
        )
    failure = load_failure(
        model.name,
        ((record.version.version, reason) for record, reason in failed),
        still_ready=all(record.phase is Phase.SERVING for record, _ in failed),
    )
    return AbortOperation(name=model.name, failure=failure)


def _publication(name: ModelName, operation: Operation) -> Action | None:
    """What has loaded is published, unless its files were changed meanwhile."""
    if operation.check is Check.RUNNING:
        return None
    if operation.check is Check.DUE and operation.definition is not None:
        return CheckFolder(name=name, wish=operation.wish, definition=operation.definition)
    if operation.check is Check.CHANGED:
        return AbortOperation(name=name, failure=changed_failure(name))
    return CommitOperation(name=name)


def _admissions(actual: Actual, moment: Moment) -> Iterator[Action]:
    """Let the longest waiting generations load, as many as there is room for."""
    records = [one for name in actual.unsteady for one in actual.models[name].generations]
    loading = sum(one.phase is Phase.LOADING and not one.is_ensemble for one in records)
    room = 0 if moment.stopping else moment.limits.loading_versions - loading
    if room <= 0:
        return
    queued = [one for one in records if one.phase is Phase.QUEUED and not one.is_ensemble]
    queued += [one for name in actual.waiting for one in actual.models[name].generations]
    for one in nsmallest(room, queued, key=lambda one: (one.wish, one.generation)):
        yield AdmitGeneration(name=one.name, generation=one.generation)


# --- generations ---------------------------------------------------------------------------------


def _waits(_model: ModelRecord, _record: GenerationRecord, _moment: Moment) -> Iterator[Action]:
    return iter(())


def _loading(_model: ModelRecord, record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    if record.failure is not None:
        yield from _after_failure(record, moment)
        return
    for one in record.instances:
        if _is_overdue(one, moment):
            yield _cut_off(one, moment)
        elif one.phase is InstancePhase.PENDING and _may_start(record, one):
            yield _start(record, one, moment)


_LIMITED: Final = frozenset({InstancePhase.STARTING, InstancePhase.STOPPING})


def _is_overdue(instance: InstanceRecord, moment: Moment) -> bool:
    return (
        instance.phase in _LIMITED
        and instance.deadline_ns != 0
        and moment.now_ns >= instance.deadline_ns
    )


def _may_start(record: GenerationRecord, instance: InstanceRecord) -> bool:
    """The first instance completes the configuration, the others start with the result."""
    return record.is_completed or instance is record.instances[0]


def _after_failure(record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    assert record.failure is not None
    if record.has_process:
        yield from _end_all(record, record.failure, moment)
    elif record.attempt <= moment.limits.retries:
        yield RetryGeneration(name=record.name, generation=record.generation)
    else:
        yield FailGeneration(name=record.name, generation=record.generation)


def _failed(_model: ModelRecord, record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    assert record.failure is not None
    yield from _end_all(record, record.failure, moment)


def _serving(model: ModelRecord, record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    if model.operation is None and _all_given_up(record):
        reason = record.instances[-1].failure
        assert reason is not None, "an instance was given up without a reason"
        yield WithdrawGeneration(name=record.name, generation=record.generation, failure=reason)
        return
    for one in record.instances:
        if one.phase is InstancePhase.SURPLUS:
            yield _stop(one, moment)
        elif _is_overdue(one, moment):
            yield _cut_off(one, moment)
        elif _may_start_again(one, moment):
            yield _start(record, one, moment)


def _all_given_up(record: GenerationRecord) -> bool:
    return not record.is_ensemble and all(
        one.phase is InstancePhase.GIVEN_UP for one in record.instances
    )


def _may_start_again(instance: InstanceRecord, moment: Moment) -> bool:
    if moment.stopping:
        return False
    has_rested = moment.now_ns >= instance.restart_at_ns
    return instance.phase is InstancePhase.PENDING or (
        instance.phase is InstancePhase.RESTING and has_rested
    )


def _withdrawn(model: ModelRecord, record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    """One that is held goes on, unless those who hold it would wait in vain."""
    is_held = record.generation in moment.held and record.can_answer
    if moment.acknowledged < record.withdrawn_in or is_held:
        return
    if _may_linger(model, record, moment):
        yield LingerGeneration(
            name=record.name, generation=record.generation, deadline_ns=_drained_by_ns(moment)
        )
    else:
        yield RetireGeneration(name=record.name, generation=record.generation)


def _may_linger(model: ModelRecord, record: GenerationRecord, moment: Moment) -> bool:
    return not moment.stopping and record in earlier_generations(model)


def _lingering(model: ModelRecord, record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    is_late = record.linger_until_ns != 0 and moment.now_ns >= record.linger_until_ns
    if record.is_quiet or is_late or not _may_linger(model, record, moment):
        yield RetireGeneration(name=record.name, generation=record.generation)
        return
    for one in record.instances:
        if one.phase is InstancePhase.SURPLUS:
            yield _stop(one, moment)
        elif _is_overdue(one, moment):
            yield _cut_off(one, moment)


def _draining(_model: ModelRecord, record: GenerationRecord, moment: Moment) -> Iterator[Action]:
    yield from _end_all(record, record.failure or SHUTDOWN, moment)
    if not record.has_process:
        yield RemoveGeneration(name=record.name, generation=record.generation)


def _end_all(record: GenerationRecord, failure: Failure, moment: Moment) -> Iterator[Action]:
    """Ready workers are asked to end; one that loads would not listen."""
    for one in record.instances:
        if one.phase is InstancePhase.STARTING:
            yield KillInstance(instance=one.key, failure=failure)
        elif one.phase in {InstancePhase.READY, InstancePhase.SURPLUS}:
            yield _stop(one, moment)
        elif _is_overdue(one, moment):
            yield _cut_off(one, moment)


def _stop(instance: InstanceRecord, moment: Moment) -> StopInstance:
    return StopInstance(instance=instance.key, deadline_ns=_drained_by_ns(moment))


def _drained_by_ns(moment: Moment) -> int:
    limit_ns = moment.limits.drain_timeout_ns
    return moment.now_ns + limit_ns if limit_ns else 0


def _start(record: GenerationRecord, instance: InstanceRecord, moment: Moment) -> StartInstance:
    return StartInstance(
        instance=instance.key,
        complete_config=not record.is_completed,
        deadline_ns=moment.now_ns + moment.limits.load_timeout_ns,
    )


def _cut_off(instance: InstanceRecord, moment: Moment) -> KillInstance:
    """End a worker that has had its time, to load or to end."""
    if instance.phase is InstancePhase.STARTING:
        code, seconds = ErrorCode.LOAD_FAILED, moment.limits.load_timeout_ns / _SECOND_NS
        text = f"loading took longer than {seconds:g} s; raise --model-load-timeout-secs"
    else:
        code, seconds = ErrorCode.UNAVAILABLE, moment.limits.drain_timeout_ns / _SECOND_NS
        text = f"not done {seconds:g} s after it was replaced; raise --model-drain-timeout-secs"
    return KillInstance(instance=instance.key, failure=Failure(code=code, message=text))


_FOR_PHASE: Final[
    dict[Phase, Callable[[ModelRecord, GenerationRecord, Moment], Iterator[Action]]]
] = {
    Phase.QUEUED: _waits,
    Phase.LOADING: _loading,
    Phase.LOADED: _waits,
    Phase.FAILED: _failed,
    Phase.SERVING: _serving,
    Phase.WITHDRAWN: _withdrawn,
    Phase.LINGERING: _lingering,
    Phase.DRAINING: _draining,
}
