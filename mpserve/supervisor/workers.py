"""Running instances: their processes, their places in the model queues, and the queues themselves.

Guarantees
    A dead worker's requests are answered before anyone hears of its death. A queue lives until its
    last worker is gone.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from mpserve.control.message import Message
from mpserve.control.messages import (
    FromWorker,
    StopWorker,
    WorkerChecked,
    WorkerLoadFailed,
    WorkerMetrics,
    WorkerReady,
    WorkerStart,
)
from mpserve.errors import ErrorCode, Failure, LoadError, MpserveError
from mpserve.lifecycle.actual import Actual, GenerationRecord, InstancePhase, InstanceRecord
from mpserve.lifecycle.events import (
    Event,
    GenerationRefused,
    InstanceChecked,
    InstanceEnded,
    InstanceFailed,
    InstanceReady,
)
from mpserve.lifecycle.reasons import death_failure
from mpserve.lifecycle.transitions import Phase
from mpserve.model.identity import Generation, InstanceKey, VersionKey
from mpserve.settings import Settings
from mpserve.shm.model_queue import ModelQueue, queue_segment
from mpserve.shm.segment import unlink
from mpserve.shm.sweep import arena_processes, queue_generations, sweep_process
from mpserve.supervisor.birth import TemplatesInUse, birth_of, cpu_share_of
from mpserve.supervisor.callers import Callers
from mpserve.supervisor.entrypoints import WORKER
from mpserve.supervisor.execution_watch import ExecutionWatch
from mpserve.supervisor.ledger import Ledger
from mpserve.supervisor.processes import Child, ChildEnd, ChildRecord, Processes
from mpserve.supervisor.queues import make_queue
from mpserve.supervisor.shared_places import ProcessIdentity, ServerMemory
from mpserve.telemetry import log

SWEEP_SECONDS: Final = 2.0
"""How long the memory of a worker that ended keeps its name: frontends may not yet have mapped the
answers it gave last, and they look at their rings many times a second."""


class RunningWorker:
    """One worker process and the place it has."""

    def __init__(self, *, child: Child, process: ProcessIdentity, queue: ModelQueue) -> None:
        self.child = child
        self.process = process
        self.queue = queue
        self.overdue_seconds = 0.0
        """The limit of an execution for which it was killed; 0 while it was not."""


class Workers:
    """All workers and model queues of the server.

    Parameters
    ----------
    tell
        Takes what happened to instances.
    callers
        Answers what models ask.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        memory: ServerMemory,
        settings: Settings,
        ledger: Ledger,
        callers: Callers,
        tell: Callable[[Event], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._processes = processes
        self._callers = callers
        self._memory = memory
        self.settings = settings
        self._ledger = ledger
        self._tell = tell
        self._now_ns = now_ns
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Generation, ModelQueue] = {}
        self._retired: set[Generation] = set()
        self._running: dict[InstanceKey, RunningWorker] = {}
        self._templates = TemplatesInUse(processes)
        self._one_ended = asyncio.Event()
        self._watch = ExecutionWatch(
            now_ns=now_ns, call_later=self._loop.call_later, overdue=self._end_overdue
        )

    def queue_name(self, generation: Generation) -> str:
        """Return the segment name of a generation's queue."""
        return self._queues[generation].name

    def open_queue(self, record: GenerationRecord) -> None:
        """Make the queue of a generation that is about to load; an ensemble only counts in it."""
        generation = record.generation
        queue = make_queue(
            record, self.settings, memory=self._memory, caller_ring=self._callers.ring
        )
        self._queues[generation] = queue
        version = VersionKey(name=record.name, version=record.version.version)
        self._ledger.opened(generation, version, queue)

    def live_sequences(self, generation: Generation) -> int:
        """Return how many sequences go on in a generation; 0 for one that is gone."""
        queue = self._queues.get(generation)
        return queue.live_sequences() if queue is not None else 0

    def retire_queue(self, generation: Generation) -> None:
        """Close a queue for good; what waits in it is still answered by its workers."""
        queue = self._queues.get(generation)
        if queue is not None:  # none was made when it never came to its turn to load
            queue.retire()
            self._retired.add(generation)

    def remove_queue(self, generation: Generation) -> None:
        """Answer what is left in a queue that has no worker any more, and remove it."""
        queue = self._queues.pop(generation, None)
        self._retired.discard(generation)
        self._templates.end(generation)
        if queue is None:
            return
        left = queue.answer_waiting(ErrorCode.UNAVAILABLE)
        if left:
            log.warning("requests.refused", generation=generation, count=left)
        queue.unlink()
        self._ledger.removed(generation)

    def start(
        self, record: GenerationRecord, instance: InstanceRecord, *, complete_config: bool
    ) -> None:
        """Start the worker of `instance`.

        Raises
        ------
        LoadError
            It needs a program that is not there.
        OSError
            The system refused.
        """
        key = instance.key
        share = cpu_share_of(record, self.settings, policy=instance.group.host_policy)
        birth = birth_of(record, self.settings, share.threads, self._memory.listeners)
        process = self._memory.begin_worker()
        try:
            self._memory.enrol(process, instance.group)
        except LoadError:
            self._memory.end(process)
            raise
        queue = self._queues[record.generation]
        start = WorkerStart(
            instance=key,
            instance_name=instance.name,
            instance_kind=instance.group.kind.value,
            instance_slot=key.index,
            passive=instance.group.passive,
            expects_answers=self._ledger.has_answered(key),
            user=birth.user.name if birth.user is not None else "",
            cpus=share.cpus,
            limiter_segment=self._memory.limiter.name if self._memory.limiter is not None else "",
            span_export=self.settings.span_export,
            places=self._memory.places(process),
            queue_segment=queue.name,
            runtime=record.settings.runtime,
            format=record.definition.format,
            model_directory=record.definition.directory,
            version_directory=record.version.directory,
            config=record.config,
            config_json=record.config_json,
            settings_json=record.settings.settings_json,
            complete_config=complete_config,
            log=self.settings.log,
            logging=self.settings.logging,
        )
        child = self._processes.spawn(
            WORKER,
            start,
            record=ChildRecord(process=process, holder=key, title=f"mps:{key.name}"),
            birth=birth,
            receives=FromWorker,
            on_message=partial(self._on_message, key),
            on_end=partial(self._on_end, key),
        )
        self._ledger.started(key)
        self._templates.begin(record.generation, birth)
        self._run(key, RunningWorker(child=child, process=process, queue=queue), record)

    def adopt(self, actual: Actual, records: Iterable[ChildRecord]) -> None:
        """Take over the queues and workers of an earlier supervisor, and do what it left undone.

        Parameters
        ----------
        records
            All children that it knew, also those that are no workers.
        """
        generations = [one for model in actual.models.values() for one in model.generations]
        for record in generations:
            self._adopt_queue(record)
        self._templates.adopt(generations)
        self._remove_unknown_queues()
        known = {each.key: each for one in generations for each in one.instances}
        owners = {each.key: one for one in generations for each in one.instances}
        for child in records:
            if isinstance(child.holder, InstanceKey):
                self._adopt_worker(child.holder, child, owners.get(child.holder))
        for instance in known.values():
            self._resume(instance)
        processes = [child.process for child in records]
        processes += [child.caller.process for child in records if child.caller is not None]
        living = {(process.index, process.epoch) for process in processes}
        for index, epoch in arena_processes(self._memory.server_id) - living:
            self._sweep_later(ProcessIdentity(index=index, epoch=epoch))

    def _adopt_queue(self, record: GenerationRecord) -> None:
        if record.phase is Phase.QUEUED:
            return
        generation = record.generation
        try:
            queue = self._adopted_queue(generation)
        except (OSError, ValueError, MpserveError):  # it died before, or while, it was made
            if record.phase is Phase.LOADING:
                unlink(queue_segment(self._memory.server_id, generation))
                self._open_again(record)
            return
        self._queues[generation] = queue
        version = VersionKey(name=record.name, version=record.version.version)
        self._ledger.opened(generation, version, queue)
        if record.phase is Phase.DRAINING:
            self.retire_queue(generation)

    def _open_again(self, record: GenerationRecord) -> None:
        try:
            self.open_queue(record)
        except (MpserveError, OSError) as error:
            failure = Failure(code=ErrorCode.EXHAUSTED, message=str(error))
            self._tell(
                GenerationRefused(name=record.name, generation=record.generation, failure=failure)
            )

    def _adopted_queue(self, generation: Generation) -> ModelQueue:
        return ModelQueue.adopt(
            self._memory.server_id,
            generation,
            rings=self._memory.rings,
            wake_fds=self._memory.wake_fds,
            caller_ring=self._callers.ring,
        )

    def _remove_unknown_queues(self) -> None:
        """Empty and remove the queues of generations that are no more."""
        for number in queue_generations(self._memory.server_id):
            if number not in self._queues:
                with contextlib.suppress(OSError, ValueError, MpserveError):
                    queue = self._adopted_queue(Generation(number))
                    queue.answer_waiting(ErrorCode.UNAVAILABLE)
                    queue.close()
                unlink(queue_segment(self._memory.server_id, number))

    def _adopt_worker(
        self, key: InstanceKey, record: ChildRecord, owner: GenerationRecord | None
    ) -> None:
        queue = self._queues.get(key.generation)
        instance = owner.instance(key) if owner is not None else None
        is_known = queue is not None and instance is not None and instance.has_process
        child = self._processes.adopt(
            record,
            receives=FromWorker,
            on_message=partial(self._on_message, key),
            on_end=partial(self._on_end, key) if is_known else partial(self._forget, record),
        )
        if queue is not None and owner is not None and is_known:
            running = RunningWorker(child=child, process=record.process, queue=queue)
            self._run(key, running, owner)
            if record.caller is not None:
                self._callers.adopt(key, child, record.caller)
        else:  # its end was seen; only the note of it was left
            child.kill()

    def _run(self, key: InstanceKey, running: RunningWorker, record: GenerationRecord) -> None:
        self._running[key] = running
        self._watch.add(
            key,
            running.queue,
            epoch=running.process.epoch,
            limit_seconds=record.config.max_execution_seconds,
        )

    def _end_overdue(self, key: InstanceKey, limit_seconds: float) -> None:
        """Kill a worker that holds a request for too long; it counts as dead by itself."""
        running = self._running.get(key)
        if running is None:
            return
        log.error("worker.overdue", **key.log_fields(), limit_seconds=limit_seconds)
        running.overdue_seconds = limit_seconds
        running.child.kill()

    def _forget(self, record: ChildRecord, _end: ChildEnd) -> None:
        self._memory.end(record.process)
        if record.caller is not None:
            self._drop(record.caller.process, record.caller.ring_index)
            self._memory.end_caller(record.caller)

    def _resume(self, instance: InstanceRecord) -> None:
        """Say again what the worker of an instance may not have heard, or that there is none."""
        key = instance.key
        if not instance.has_process:
            return
        if key not in self._running:
            failure = death_failure(key, exit_code=None, signal_number=None, last_lines=())
            self._tell(
                InstanceEnded(instance=key, failure=failure, at_ns=self._now_ns(), is_unborn=True)
            )
        elif instance.phase is InstancePhase.STOPPING and instance.failure is not None:
            self.kill(key)
        elif instance.phase is InstancePhase.STOPPING:
            self.stop(key)

    def stop(self, key: InstanceKey) -> None:
        """Let a worker finish what it executes, and end; of a retired queue also what waits.

        One that holds sequences ends when the last of them has ended, or was idle for too long.
        """
        running = self._running.get(key)
        if running is None:
            return
        self._templates.end_loading(key.generation, running.child)
        if key.generation not in self._retired:  # what waits is for the instances that stay
            running.queue.retire_instance(key.index)
            if running.queue.has_sequences():
                return  # the queue lets it go
        running.child.send(StopWorker())

    def kill(self, key: InstanceKey) -> None:
        """End a worker at once."""
        running = self._running.get(key)
        if running is not None:
            self._templates.end_loading(key.generation, running.child)
            running.child.kill()

    def reap_frontend(self, process: ProcessIdentity) -> None:
        """Drop what a dead frontend left in the queues."""
        self._drop(process, self._memory.ring_index(process))

    def pid(self, key: InstanceKey) -> int | None:
        """Return the process of an instance; `None` when it has none."""
        running = self._running.get(key)
        return running.child.pid if running is not None else None

    def send(self, key: InstanceKey, message: Message) -> None:
        """Tell the worker of an instance; without effect when there is none."""
        running = self._running.get(key)
        if running is not None:
            running.child.send(message)

    async def all_ended(self) -> None:
        """Wait until no worker is left."""
        while self._running:
            self._one_ended.clear()
            await self._one_ended.wait()

    def _on_message(self, key: InstanceKey, message: Message) -> None:
        match message:
            case WorkerReady():
                if self._processes.note_ready(self._running[key].child):
                    log.info("worker.ready", **key.log_fields(), load_ms=message.load_ms)
                self._tell(
                    InstanceReady(
                        instance=key, config=message.config, config_json=message.config_json
                    )
                )
            case WorkerChecked(complaint=complaint):
                write = log.warning if complaint else log.info
                event = "worker.complains" if complaint else "worker.recovered"
                write(event, **key.log_fields(), reason=complaint)
                self._tell(InstanceChecked(instance=key, complaint=complaint))
            case WorkerMetrics():
                self._ledger.model_metrics.tell(key, message)
            case WorkerLoadFailed():
                log.error(
                    "worker.load_failed",
                    **key.log_fields(),
                    reason=message.failure.message,
                    traceback=message.traceback,
                )
                self._tell(InstanceFailed(instance=key, failure=message.failure))
            case _ if not self._callers.take(key, self._running[key].child, message):
                log.error("message.unexpected", sender="worker", kind=type(message).__name__)

    def _on_end(self, key: InstanceKey, end: ChildEnd) -> None:
        running = self._running.pop(key)
        self._watch.remove(key)
        self._ledger.model_metrics.ended(key)
        self._one_ended.set()
        answered = running.queue.reap_instance(
            key.index, running.process.epoch, overdue_seconds=running.overdue_seconds
        )
        self._callers.ended(key, lambda caller: self._drop(caller.process, caller.ring_index))
        self._memory.end(running.process)
        self._sweep_later(running.process)
        write = log.info if end.exit_code == os.EX_OK else log.warning
        write(
            "worker.ended",
            **key.log_fields(),
            pid=running.child.pid,
            exit_code=end.exit_code,
            signal=end.signal_number,
            requests_failed=answered,
        )
        failure = death_failure(
            key,
            exit_code=end.exit_code,
            signal_number=end.signal_number,
            last_lines=end.last_lines,
            overdue_seconds=running.overdue_seconds,
        )
        self._tell(
            InstanceEnded(
                instance=key, failure=failure, at_ns=self._now_ns(), is_unborn=end.is_unborn
            )
        )

    def _sweep_later(self, process: ProcessIdentity) -> None:
        self._loop.call_later(SWEEP_SECONDS, self._sweep, process)

    def _drop(self, process: ProcessIdentity, ring_index: int) -> None:
        for queue in self._queues.values():
            queue.reap_frontend(process.index, process.epoch, ring_index=ring_index)

    def _sweep(self, process: ProcessIdentity) -> None:
        sweep_process(self._memory.server_id, process.index, process.epoch)
