"""The only door from decisions to the world: carries out actions of the plan, one method each."""

from collections.abc import Callable
from typing import Any

from mpserve.errors import ErrorCode, Failure, MpserveError
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
    KillInstance,
    LingerGeneration,
    PublishTable,
    RemoveGeneration,
    RetireGeneration,
    RetryGeneration,
    SettleWish,
    StartInstance,
    StopInstance,
    WithdrawEnsemble,
    WithdrawGeneration,
)
from mpserve.lifecycle.actual import Actual, GenerationRecord
from mpserve.lifecycle.events import Event, GenerationRefused, InstanceEnded
from mpserve.lifecycle.transitions import Phase
from mpserve.model.identity import Generation, InstanceKey, ModelName
from mpserve.supervisor.ledger import Ledger
from mpserve.supervisor.workers import Workers
from mpserve.telemetry import log


class Effects:
    """Carries out actions.

    Parameters
    ----------
    publish
        Sends the rows of these models to the frontends under this number.
    check_folder
        Looks at the folder once more and tells what it saw.
    linger
        Tells when the last sequence of a generation has ended; returns how many there are now.
    settle
        Answers those who made a wish.
    tell
        Takes what happened when an action could not be carried out.
    """

    def __init__(
        self,
        *,
        workers: Workers,
        ledger: Ledger,
        publish: Callable[[PublishTable], None],
        check_folder: Callable[[CheckFolder], None],
        linger: Callable[[ModelName, Generation], int],
        settle: Callable[[SettleWish], None],
        tell: Callable[[Event], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._workers = workers
        self._ledger = ledger
        self._publish = publish
        self._check_folder_of = check_folder
        self._linger_in = linger
        self._settle = settle
        self._tell = tell
        self._now_ns = now_ns
        # Each method takes the one type of its row; the table's type can not say so.
        self._effects: dict[type[Action], Callable[[Any, Actual], None]] = {
            BeginOperation: self._begin,
            CheckFolder: self._check_folder,
            CommitOperation: self._nothing,
            AbortOperation: self._nothing,
            SettleWish: self._settle_wish,
            AdmitGeneration: self._admit,
            RetryGeneration: self._retry,
            FailGeneration: self._fail,
            WithdrawGeneration: self._withdraw,
            AssembleGeneration: self._nothing,
            AdaptEnsemble: self._nothing,
            WithdrawEnsemble: self._withdraw_ensemble,
            LingerGeneration: self._linger,
            RetireGeneration: self._retire,
            RemoveGeneration: self._remove,
            StartInstance: self._start,
            StopInstance: self._stop,
            KillInstance: self._kill,
            PublishTable: self._publish_table,
        }

    def carry_out(self, action: Action, actual: Actual) -> None:
        """Do `action`; `actual` is what is after it was issued."""
        self._effects[type(action)](action, actual)

    def _begin(self, action: BeginOperation, _actual: Actual) -> None:
        event = "unload.begun" if action.wish.definition is None else "load.begun"
        log.debug(event, model=action.wish.name, wish=action.wish.number)
        self._ledger.begun(action.wish.name)

    def _check_folder(self, action: CheckFolder, _actual: Actual) -> None:
        self._check_folder_of(action)

    def _admit(self, action: AdmitGeneration, actual: Actual) -> None:
        record = _generation(actual, action.name, action.generation)
        log.info("version.loading", **_described(record), attempt=record.attempt)
        try:
            self._workers.open_queue(record)
        except (MpserveError, OSError) as error:
            failure = _failure_of(error)
            log.error("queue.refused", **_described(record), reason=failure.message)
            self._tell(
                GenerationRefused(name=action.name, generation=action.generation, failure=failure)
            )

    def _retry(self, action: RetryGeneration, actual: Actual) -> None:
        record = _generation(actual, action.name, action.generation)
        log.info("version.loading", **_described(record), attempt=record.attempt)

    def _fail(self, action: FailGeneration, actual: Actual) -> None:
        record = _generation(actual, action.name, action.generation)
        reason = record.failure.message if record.failure is not None else ""
        log.error("version.load_failed", **_described(record), reason=reason)

    def _withdraw(self, action: WithdrawGeneration, actual: Actual) -> None:
        record = _generation(actual, action.name, action.generation)
        log.error("version.given_up", **_described(record), reason=action.failure.message)

    def _withdraw_ensemble(self, action: WithdrawEnsemble, actual: Actual) -> None:
        record = _generation(actual, action.name, action.generation)
        log.warning(
            "ensemble.withdrawn", **_described(record), reason=action.misfit.failure.message
        )

    def _linger(self, action: LingerGeneration, actual: Actual) -> None:
        record = _generation(actual, action.name, action.generation)
        sequences = self._linger_in(action.name, action.generation)
        if sequences:
            log.info("version.lingers", **_described(record), sequences=sequences)

    def _retire(self, action: RetireGeneration, _actual: Actual) -> None:
        self._workers.retire_queue(action.generation)

    def _remove(self, action: RemoveGeneration, _actual: Actual) -> None:
        self._workers.remove_queue(action.generation)
        log.info("version.unloaded", model=action.name, generation=action.generation)

    def _start(self, action: StartInstance, actual: Actual) -> None:
        key = action.instance
        record = _generation(actual, key.name, key.generation)
        instance = record.instance(key)
        assert instance is not None, "an instance is started that is not there"
        try:
            self._workers.start(record, instance, complete_config=action.complete_config)
        except (MpserveError, OSError) as error:
            self._told_of_no_process(key, error)

    def _told_of_no_process(self, key: InstanceKey, error: MpserveError | OSError) -> None:
        log.error("worker.refused", **key.log_fields(), reason=str(error))
        self._tell(InstanceEnded(instance=key, failure=_failure_of(error), at_ns=self._now_ns()))

    def _stop(self, action: StopInstance, _actual: Actual) -> None:
        self._workers.stop(action.instance)

    def _kill(self, action: KillInstance, _actual: Actual) -> None:
        log.warning("worker.killed", **action.instance.log_fields(), reason=action.failure.message)
        self._workers.kill(action.instance)

    def _settle_wish(self, action: SettleWish, actual: Actual) -> None:
        model = actual.models[action.name]
        if action.failure is not None:
            log.error("model.load_failed", model=action.name, reason=action.failure.message)
        elif model.definition is not None:
            versions = ",".join(one.version for one in model.definition.versions)
            log.info("model.loaded", model=action.name, versions=versions)
        else:
            log.info("model.withdrawn", model=action.name)
        self._ledger.settled(action.name, succeeded=action.failure is None)
        self._settle(action)

    def _publish_table(self, action: PublishTable, actual: Actual) -> None:
        for name in action.names & actual.models.keys():
            for record in actual.models[name].generations:
                if record.phase is Phase.SERVING:
                    self._ledger.serves(record.generation)
        self._publish(action)

    def _nothing(self, _action: Action, _actual: Actual) -> None:
        """The observation of the action is all there is to do."""


def _generation(actual: Actual, name: ModelName, number: Generation) -> GenerationRecord:
    record = actual.models[name].generation(number)
    assert record is not None, "an action names a generation that is not there"
    return record


def _described(record: GenerationRecord) -> dict[str, object]:
    return {
        "model": record.name,
        "version": record.version.version,
        "generation": record.generation,
    }


def _failure_of(error: MpserveError | OSError) -> Failure:
    if isinstance(error, MpserveError):
        return error.failure()
    return Failure(code=ErrorCode.EXHAUSTED, message=f"the system refused: {error}")
