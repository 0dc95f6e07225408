"""What is, after an event happened or an action was issued.

An action is observed when it is issued, before it is carried out, so that the next plan does not
issue it again. Pure: `Actual` in, `Actual` out.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mpserve.errors import Failure
from mpserve.lifecycle import operation
from mpserve.lifecycle.actions import (
    AbortOperation,
    Action,
    AdaptEnsemble,
    AdmitGeneration,
    AssembleGeneration,
    BeginOperation,
    CheckFolder,
    CommitOperation,
    FailGeneration,
    LingerGeneration,
    PublishTable,
    RemoveGeneration,
    RetireGeneration,
    RetryGeneration,
    SettleWish,
    WithdrawEnsemble,
    WithdrawGeneration,
)
from mpserve.lifecycle.actual import Actual, GenerationRecord, ModelRecord
from mpserve.lifecycle.events import (
    Event,
    FolderChecked,
    GenerationRefused,
    GenerationsHeld,
    InstanceEnded,
    LoadRefused,
    SequencesEnded,
    TableAcknowledged,
)
from mpserve.lifecycle.instance_observation import INSTANCE_OBSERVERS, ended
from mpserve.lifecycle.operation_record import Check
from mpserve.lifecycle.reasons import UNLOADED, shown_reason
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.transitions import Turn, next_phase
from mpserve.model.identity import Generation, ModelName

replace = msgspec.structs.replace


def observe(actual: Actual, happened: Event | Action, *, policy: RestartPolicy) -> Actual:
    """Return `actual` after `happened`.

    What concerns an instance or a generation that is not there any more changes nothing: its
    message was on the way when it was let go.
    """
    match happened:
        case TableAcknowledged():
            return replace(actual, acknowledged=max(actual.acknowledged, happened.number))
        case PublishTable():
            return replace(
                actual,
                table_number=happened.number,
                changed=actual.changed - happened.names,
            )
        case GenerationsHeld():
            return replace(actual, held=happened.generations)
        case InstanceEnded():
            return ended(actual, happened, policy=policy)
        case _:
            return _OBSERVERS[type(happened)](actual, happened)


# --- operations ----------------------------------------------------------------------------------


def _begun(actual: Actual, action: BeginOperation) -> Actual:
    name = action.wish.name
    model = actual.models.get(name) or ModelRecord(name=name)
    begun = operation.begin(model, action.wish, last_generation=actual.last_generation)
    last = max((one.generation for one in begun.generations), default=0)
    return replace(actual.with_model(begun), last_generation=max(actual.last_generation, last))


def _check_begun(actual: Actual, action: CheckFolder) -> Actual:
    return actual.with_model(operation.checked(actual.models[action.name], Check.RUNNING))


def _checked(actual: Actual, event: FolderChecked) -> Actual:
    model = actual.models.get(event.name)
    going = model.operation if model is not None else None
    if model is None or going is None or going.wish != event.wish:
        return actual
    result = Check.PASSED if event.is_unchanged else Check.CHANGED
    return actual.with_model(operation.checked(model, result))


def _committed(actual: Actual, action: CommitOperation) -> Actual:
    model = actual.models[action.name]
    return actual.with_model(operation.commit(model, next_table=actual.table_number + 1))


def _aborted(actual: Actual, action: AbortOperation) -> Actual:
    return actual.with_model(operation.abort(actual.models[action.name], action.failure))


def _settled(actual: Actual, action: SettleWish) -> Actual:
    model = actual.models.get(action.name) or ModelRecord(name=action.name)
    return actual.with_model(operation.settle(model, number=action.number))


# --- generations ---------------------------------------------------------------------------------


def _admitted(actual: Actual, action: AdmitGeneration) -> Actual:
    return _turned(actual, action.name, action.generation, Turn.ADMIT)


def _failed_for_good(actual: Actual, action: FailGeneration) -> Actual:
    return _turned(actual, action.name, action.generation, Turn.FAIL)


def _lingers(actual: Actual, action: LingerGeneration) -> Actual:
    def change(record: GenerationRecord) -> GenerationRecord:
        return replace(
            record,
            phase=next_phase(record.phase, Turn.LINGER),
            linger_until_ns=action.deadline_ns,
        )

    return actual.with_changed(action.name, action.generation, change)


def _quiet(actual: Actual, event: SequencesEnded) -> Actual:
    return actual.with_changed(
        event.name, event.generation, lambda record: replace(record, is_quiet=True)
    )


def _retired(actual: Actual, action: RetireGeneration) -> Actual:
    return _turned(actual, action.name, action.generation, Turn.RETIRE)


def _turned(actual: Actual, name: ModelName, number: Generation, turn: Turn) -> Actual:
    def change(record: GenerationRecord) -> GenerationRecord:
        return replace(record, phase=next_phase(record.phase, turn))

    return actual.with_changed(name, number, change)


def _retried(actual: Actual, action: RetryGeneration) -> Actual:
    def change(record: GenerationRecord) -> GenerationRecord:
        return replace(record, attempt=record.attempt + 1, failure=None)

    return actual.with_changed(action.name, action.generation, change)


def _refused(actual: Actual, event: GenerationRefused) -> Actual:
    def change(record: GenerationRecord) -> GenerationRecord:
        return replace(record, failure=record.failure or event.failure)

    return actual.with_changed(event.name, event.generation, change)


def _load_refused(actual: Actual, event: LoadRefused) -> Actual:
    """Versions that serve go on, and the reason is not one of theirs."""
    model = actual.models.get(event.name) or ModelRecord(name=event.name)
    reason = shown_reason(event.failure)
    refused = {one: reason for one in event.versions if model.serving(one) is None}
    return actual.with_model(replace(model, reasons={**model.reasons, **refused}))


def _withdrawn(actual: Actual, action: WithdrawGeneration) -> Actual:
    model = actual.models[action.name]
    reason = shown_reason(action.failure)
    return _out_of_the_table(actual, model, action.generation, action.failure, reason)


def _out_of_the_table(
    actual: Actual, model: ModelRecord, number: Generation, failure: Failure, reason: str
) -> Actual:
    record = model.generation(number)
    assert record is not None, "a generation is withdrawn that is not there"
    withdrawn = replace(
        record,
        phase=next_phase(record.phase, Turn.WITHDRAW),
        withdrawn_in=actual.table_number + 1,
        failure=failure,
    )
    noted = replace(model, reasons={**model.reasons, record.version.version: reason})
    return actual.with_model(noted.with_generation(withdrawn))


def _assembled(actual: Actual, action: AssembleGeneration) -> Actual:
    model = actual.models[action.name]
    record = model.generation(action.generation)
    assert record is not None, "a generation is assembled that is not there"
    if action.misfit is None:
        loaded = replace(
            record.adapted(decoupled=action.decoupled), phase=next_phase(record.phase, Turn.LOAD)
        )
        return actual.with_model(model.with_generation(loaded))
    failed = replace(record, failure=action.misfit.failure)
    return actual.with_model(replace(model, misfit=action.misfit).with_generation(failed))


def _ensemble_adapted(actual: Actual, action: AdaptEnsemble) -> Actual:
    def change(record: GenerationRecord) -> GenerationRecord:
        return record.adapted(decoupled=action.decoupled)

    return actual.with_changed(action.name, action.generation, change)


def _ensemble_withdrawn(actual: Actual, action: WithdrawEnsemble) -> Actual:
    failure = action.misfit.failure
    # An ensemble that only lacks a model which somebody unloaded counts as unloaded with it.
    reason = UNLOADED if action.misfit.is_absence else shown_reason(failure)
    model = replace(actual.models[action.name], misfit=action.misfit)
    return _out_of_the_table(actual, model, action.generation, failure, reason)


def _removed(actual: Actual, action: RemoveGeneration) -> Actual:
    model = actual.models[action.name]
    record = model.generation(action.generation)
    assert record is not None, "a generation is removed that is not there"
    version = record.version.version
    others = tuple(one for one in model.generations if one is not record)
    reasons = dict(model.reasons)
    if record.failure is None and all(one.version.version != version for one in others):
        reasons[version] = UNLOADED
    return actual.with_model(replace(model, generations=others, reasons=reasons))


# Each observer takes the one type of its row; the table's type can not say so.
_OBSERVERS: Final[dict[type[Event | Action], Callable[[Actual, Any], Actual]]] = {
    BeginOperation: _begun,
    CheckFolder: _check_begun,
    FolderChecked: _checked,
    CommitOperation: _committed,
    AbortOperation: _aborted,
    SettleWish: _settled,
    AdmitGeneration: _admitted,
    RetryGeneration: _retried,
    FailGeneration: _failed_for_good,
    WithdrawGeneration: _withdrawn,
    AssembleGeneration: _assembled,
    AdaptEnsemble: _ensemble_adapted,
    WithdrawEnsemble: _ensemble_withdrawn,
    LingerGeneration: _lingers,
    SequencesEnded: _quiet,
    RetireGeneration: _retired,
    RemoveGeneration: _removed,
    **INSTANCE_OBSERVERS,
    GenerationRefused: _refused,
    LoadRefused: _load_refused,
}
