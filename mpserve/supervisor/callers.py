"""Workers whose models ask: for other models' answers (BLS), for loads and unloads.

Guarantees
    A worker that joined is told every change of the routing table. Nobody waits for it: a request
    that it sends to a queue that was retired meanwhile is sent again by its next table.
Owner
    The supervisor, on its loop's thread.
"""

from collections.abc import Callable

import msgspec

from mpserve.control.message import Message
from mpserve.control.messages import (
    CallersJoined,
    JoinCallers,
    LoadCall,
    PublishTable,
    UnloadCall,
)
from mpserve.errors import ErrorCode, Failure
from mpserve.model.identity import InstanceKey
from mpserve.shm.completion_ring import MAX_RINGS, CompletionRing
from mpserve.shm.sweep import sweep_process
from mpserve.supervisor.frontends import Answer, Call
from mpserve.supervisor.processes import Child, Processes
from mpserve.supervisor.shared_places import CallerIdentity, ProcessIdentity, ServerMemory
from mpserve.telemetry import log


class _Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that sends requests."""

    child: Child
    identity: CallerIdentity


class Callers:
    """What workers ask for, and those who are told the routing table."""

    def __init__(self, memory: ServerMemory, processes: Processes) -> None:
        self._memory = memory
        self._processes = processes
        self._callers: dict[InstanceKey, _Caller] = {}
        self._rings: dict[ProcessIdentity, CompletionRing] = {}
        self._whole_table: Callable[[], PublishTable] = _nobody_answers
        self._called: Callable[[Call, Answer], None] = _nobody_is_called

    def answer_by(
        self, *, whole_table: Callable[[], PublishTable], called: Callable[[Call, Answer], None]
    ) -> None:
        """Say from now on what the table is, and who carries calls out."""
        self._whole_table = whole_table
        self._called = called

    def publish(self, table: PublishTable) -> None:
        """Tell all that joined."""
        for caller in self._callers.values():
            caller.child.send(table)

    def take(self, key: InstanceKey, child: Child, message: Message) -> bool:
        """Answer what a worker asks; false when it is no question."""
        match message:
            case JoinCallers():
                self._join(key, child)
            case LoadCall() | UnloadCall():
                self._called(message, child.send)
            case _:
                return False
        return True

    def ended(self, key: InstanceKey, drop: Callable[[CallerIdentity], None]) -> None:
        """A worker is dead: `drop` its requests from the queues, then forget it."""
        caller = self._callers.pop(key, None)
        if caller is None:
            return
        process = caller.identity.process
        self._memory.end_caller(caller.identity)  # first: who is woken by the next line sees it
        drop(caller.identity)
        self._rings.pop(process, None)
        sweep_process(self._memory.server_id, process.index, process.epoch)

    def ring(self, process_index: int, epoch: int) -> CompletionRing | None:
        """Return where a worker takes its answers; `None` when it is gone."""
        process = ProcessIdentity(index=process_index, epoch=epoch)
        if all(caller.identity.process != process for caller in self._callers.values()):
            return None
        ring = self._rings.get(process)
        if ring is None:
            try:
                ring = CompletionRing.attach_of_caller(self._memory.server_id, process_index, epoch)
            except FileNotFoundError:  # it has not made it yet, so it has sent nothing
                return None
            self._rings[process] = ring
        return ring

    def adopt(self, key: InstanceKey, child: Child, identity: CallerIdentity) -> None:
        """Take over a worker that joined an earlier supervisor."""
        self._callers[key] = _Caller(child=child, identity=identity)

    def _join(self, key: InstanceKey, child: Child) -> None:
        known = self._callers.get(key)  # of a worker that has not heard the answer
        identity = known.identity if known is not None else self._memory.begin_caller()
        if identity is None:
            reason = (
                "too many instances send requests to models: at most"
                f" {MAX_RINGS - len(self._memory.rings)} may"
            )
            log.error("caller.refused", model=key.name, instance=key.index, reason=reason)
            child.send(CallersJoined(failure=Failure(code=ErrorCode.EXHAUSTED, message=reason)))
            return
        self._processes.note_caller(child, identity)
        self._callers[key] = _Caller(child=child, identity=identity)
        child.send(
            CallersJoined(
                process_index=identity.process.index,
                epoch=identity.process.epoch,
                ring_index=identity.ring_index,
            )
        )
        child.send(self._whole_table())


def _nobody_answers() -> PublishTable:
    raise AssertionError("a worker asks before anybody answers")


def _nobody_is_called(_call: Call, _answer: Answer) -> None:
    raise AssertionError("a worker calls before anybody answers")
