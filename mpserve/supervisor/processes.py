"""Children of the server: workers and frontends, from the request to fork until the reaped end.

Guarantees
    `on_end` of a child is called exactly once, after its process is gone for certain, whatever died
    first: the child, the spawner, or both. A pid is never signalled after it may have been reused
    (pidfd). A child is noted in the checkpoint before it is asked for and until `on_end` returned,
    so that the next supervisor knows of everyone who may live.
Assumes
    The root is a subreaper: it reaps the children of a dead spawner, and tells.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.control.channel import Channel
from mpserve.control.door import Call
from mpserve.control.framing import MessageTypes
from mpserve.control.message import Message
from mpserve.control.messages import FrontendStart, WorkerStart
from mpserve.control.spawner_messages import (
    Birth,
    ChildExited,
    ChildStopped,
    FromSpawner,
    Spawn,
    Spawned,
    SpawnerBack,
    SpawnFailed,
)
from mpserve.model.identity import InstanceKey
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.pidfd import is_stopped, living_pidfd, started_ticks
from mpserve.supervisor.shared_places import CallerIdentity, ProcessIdentity
from mpserve.supervisor.spawner_link import SpawnerLink
from mpserve.supervisor.stderr_tail import StderrTail
from mpserve.telemetry import log

STOPPED_SECONDS: Final = 5.0
"""How long a child may be stopped (SIGSTOP) before it is killed: nobody computes then. A child that
only is busy is left alone, however long it takes."""

UNSEEN_END_SECONDS: Final = 1.0
"""How long the spawner may take to tell of an end that the pidfd has shown; it sleeps in poll."""

FORK: Final = Birth()
CHILD_PREFIX: Final = "child/"
_INDEX_BITS: Final = 16


class ChildEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended; neither code nor signal when nobody saw it.

    Attributes
    ----------
    last_lines
        Of its stderr, oldest first.
    is_unborn
        There never was a process: the supervisor that asked for it died too early.
    """

    exit_code: int | None = None
    signal_number: int | None = None
    last_lines: tuple[str, ...] = ()
    is_unborn: bool = False


class ChildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A child in the checkpoint.

    Attributes
    ----------
    holder
        Instance of a worker, place of a frontend.
    pid, started_ticks
        `None` until the spawner has answered. The ticks tell a reused pid.
    is_ready
        It has said so.
    caller
        Of a worker whose model sends requests to models.
    """

    process: ProcessIdentity
    holder: InstanceKey | int
    title: str
    pid: int | None = None
    started_ticks: int = 0
    is_ready: bool = False
    caller: CallerIdentity | None = None

    @property
    def spawn_id(self) -> int:
        """Number of the request to fork it: an epoch is never given twice to an index."""
        return self.process.epoch << _INDEX_BITS | self.process.index


class Child:
    """One child as the supervisor holds it. Made by `Processes`."""

    def __init__(
        self,
        record: ChildRecord,
        *,
        receives: MessageTypes,
        on_message: Callable[[Message], None],
        on_end: Callable[[ChildEnd], None],
    ) -> None:
        self.record = record
        self.receives = receives
        self.on_message = on_message
        self.on_end = on_end
        self.channel: Channel[Message] | None = None
        self.tail: StderrTail | None = None
        self.pidfd: int | None = None
        self.is_to_be_killed = False
        self.stopped: asyncio.TimerHandle | None = None
        self.is_asked_before = False
        """An earlier supervisor asked for it, and the answer is not known."""
        self.unsent: list[Message] | None = None
        """For a child that has yet to come back."""

    @property
    def pid(self) -> int | None:
        """Process id, once it is known."""
        return self.record.pid

    def send(self, message: Message) -> None:
        """Send `message`; without effect when the child is gone."""
        if self.channel is not None:
            self.channel.send(message)
        elif self.unsent is not None:
            self.unsent.append(message)

    def has_unread(self) -> bool:
        """Tell whether the child has not yet read all that it was sent."""
        return bool(self.unsent) or (self.channel is not None and self.channel.has_unread())

    def kill(self) -> None:
        """End the child at once (SIGKILL)."""
        self.is_to_be_killed = True
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


def _may_be(record: ChildRecord, call: Call) -> bool:
    """Tell whether a caller can be the child: a worker may be another user, who is not believed."""
    is_ours = call.uid == os.getuid() or not isinstance(record.holder, int)
    return is_ours and record.pid in {None, call.caller.pid}


class Processes:
    """All children. The spawner and the root tell of their ends; pidfds tell when they can not."""

    def __init__(self, link: SpawnerLink, checkpoint: Checkpoint) -> None:
        self._link = link
        self._checkpoint = checkpoint
        self._loop = asyncio.get_running_loop()
        self._told_to_all: Message | None = None
        self._awaited: dict[int, Child] = {}  # by spawn id, until the spawner answered
        self._children: dict[int, Child] = {}  # by pid
        link.attach(self)

    def __len__(self) -> int:
        return len(self._awaited) + len(self._children)

    def spawn(
        self,
        role: str,
        start: WorkerStart | FrontendStart,
        *,
        record: ChildRecord,
        birth: Birth = FORK,
        receives: MessageTypes,
        on_message: Callable[[Message], None],
        on_end: Callable[[ChildEnd], None],
    ) -> Child:
        """Ask for a child of `role`; it may be sent messages at once.

        Parameters
        ----------
        birth
            How it is made.
        receives
            Union of what the child may send; `on_message` gets it.
        on_end
            Called once, when the process is gone or could not be started.
        """
        child = Child(record, receives=receives, on_message=on_message, on_end=on_end)
        ours, theirs = socket.socketpair()
        child.tail, stderr_fd = StderrTail.open()
        self._open(child, ours)
        self._awaited[record.spawn_id] = child
        self._note(child, record)
        message = Spawn(
            spawn_id=record.spawn_id,
            role=role,
            title=record.title,
            start=msgspec.msgpack.encode(start),
            birth=birth,
        )
        self._link.spawn(message, fds=(theirs.detach(), stderr_fd))
        return child

    def adopt(
        self,
        record: ChildRecord,
        *,
        receives: MessageTypes,
        on_message: Callable[[Message], None],
        on_end: Callable[[ChildEnd], None],
    ) -> Child:
        """Take over a child of an earlier supervisor; messages wait until it comes back."""
        child = Child(record, receives=receives, on_message=on_message, on_end=on_end)
        child.unsent = []
        if record.pid is None:
            child.is_asked_before = True
            self._awaited[record.spawn_id] = child
            return child
        self._children[record.pid] = child
        child.pidfd = living_pidfd(record.pid, record.started_ticks)
        if child.pidfd is not None:
            self._loop.add_reader(child.pidfd, self._on_gone, child)
            if is_stopped(record.pid):
                self.on_stopped(ChildStopped(pid=record.pid, is_stopped=True))
        else:  # how it ended the spawner may tell
            self._loop.call_later(UNSEEN_END_SECONDS, self._end_unseen, child)
        return child

    def came_back(self, call: Call) -> bool:
        """Take a child that rang at the door; false when there is none of its name."""
        caller = call.caller
        child = self._find(caller.process_index, caller.epoch)
        if child is None or not _may_be(child.record, call):
            return False
        if child.record.pid is None:  # it was faster than the spawner
            self._on_spawned(Spawned(spawn_id=child.record.spawn_id, pid=caller.pid))
        if child.channel is not None:
            child.channel.close()
        self._open(child, call.control)
        for message in child.unsent or ():
            child.send(message)
        child.unsent = None
        if call.stderr_fd >= 0:
            if child.tail is not None:
                child.tail.close()
            child.tail = StderrTail.follow(call.stderr_fd)
        return True

    def end_template(self, number: int) -> None:
        """Let no child be forked from a template any more; those that wait for it end unborn."""
        self._link.end_template(number)

    def note_ready(self, child: Child) -> bool:
        """Note that the child is ready; true when that is news."""
        is_news = not child.record.is_ready
        if is_news:
            self._note(child, msgspec.structs.replace(child.record, is_ready=True))
        return is_news

    def note_caller(self, child: Child, caller: CallerIdentity) -> None:
        """Note that a worker's model sends requests to models."""
        self._note(child, msgspec.structs.replace(child.record, caller=caller))

    def tell_all(self, message: Message) -> None:
        """Send a message to every child, and to each that starts from now on before any other."""
        self._told_to_all = message
        for child in (*self._awaited.values(), *self._children.values()):
            child.send(message)

    def kill_all(self) -> None:
        """End every child at once."""
        for child in (*self._awaited.values(), *self._children.values()):
            child.kill()

    def on_spawner_message(self, message: FromSpawner) -> None:
        """Take what the spawner tells (called by the link)."""
        match message:
            case Spawned():
                self._on_spawned(message)
            case SpawnFailed():
                child = self._awaited.pop(message.spawn_id)
                self._end(child, ChildEnd(last_lines=(f"fork: {message.reason}",)))
            case ChildExited():
                self.on_exited(message)
            case ChildStopped():
                self.on_stopped(message)
            case SpawnerBack():
                self._on_spawner_back(message)

    def on_exited(self, message: ChildExited) -> None:
        """Take the end of a process, which the spawner or the root has reaped."""
        ended = self._children.get(message.pid)
        if ended is not None:
            end = ChildEnd(exit_code=message.exit_code, signal_number=message.signal_number)
            self._end(ended, end)

    def on_stopped(self, message: ChildStopped) -> None:
        """Take that a process was stopped or goes on; the spawner and the root see that."""
        child = self._children.get(message.pid)
        if child is None:
            return
        if child.stopped is not None:
            child.stopped.cancel()
            child.stopped = None
        if message.is_stopped:
            log.warning("process.stopped", title=child.record.title, pid=message.pid)
            child.stopped = self._loop.call_later(STOPPED_SECONDS, child.kill)

    def on_spawner_ended(self) -> None:
        """Give up what a dead spawner was asked for (called by the link)."""
        for spawn_id, child in tuple(self._awaited.items()):
            # If it was forked all the same, it sees the end of its socket and ends.
            del self._awaited[spawn_id]
            if child.is_asked_before:
                self._end(child, ChildEnd(is_unborn=True))
            else:
                self._end(child, ChildEnd(last_lines=("the spawner died before it answered",)))

    def _on_spawner_back(self, message: SpawnerBack) -> None:
        """The spawner has come back: what it does not know was never started."""
        for spawned in message.living:
            if spawned.spawn_id in self._awaited:
                self._on_spawned(spawned)
        for exited in message.ended:
            ended = self._children.get(exited.pid)
            if ended is not None and ended.pidfd is None:
                self.on_exited(exited)
        for spawn_id, child in tuple(self._awaited.items()):
            if child.is_asked_before:
                del self._awaited[spawn_id]
                self._end(child, ChildEnd(is_unborn=True))

    def _on_spawned(self, message: Spawned) -> None:
        child = self._awaited.pop(message.spawn_id, None)
        if child is None:
            return  # it has come back by itself before
        predecessor = self._children.get(message.pid)
        if predecessor is not None:  # ended, and nobody has told how
            self._end_unseen(predecessor)
        self._children[message.pid] = child
        ticks = started_ticks(message.pid)
        record = msgspec.structs.replace(child.record, pid=message.pid, started_ticks=ticks)
        self._note(child, record)
        try:
            child.pidfd = os.pidfd_open(message.pid)
        except ProcessLookupError:
            return  # ended and reaped: `ChildExited` follows
        self._loop.add_reader(child.pidfd, self._on_gone, child)
        if child.is_to_be_killed:
            child.kill()

    def _find(self, process_index: int, epoch: int) -> Child | None:
        process = ProcessIdentity(index=process_index, epoch=epoch)
        everyone = (*self._children.values(), *self._awaited.values())
        return next((child for child in everyone if child.record.process == process), None)

    def _open(self, child: Child, control: socket.socket) -> None:
        child.channel = Channel.open(
            control, child.receives, on_message=child.on_message, on_end=lambda _reason: None
        )
        if self._told_to_all is not None:
            child.send(self._told_to_all)

    def _note(self, child: Child, record: ChildRecord) -> None:
        child.record = record
        self._checkpoint.put(f"{CHILD_PREFIX}{record.process.index}", record)

    def _on_gone(self, child: Child) -> None:
        """The pidfd shows that the process has ended; who has reaped it tells how."""
        assert child.pidfd is not None
        self._loop.remove_reader(child.pidfd)
        self._loop.call_later(UNSEEN_END_SECONDS, self._end_unseen, child)

    def _end_unseen(self, child: Child) -> None:
        if child.pid is not None and self._children.get(child.pid) is child:
            self._end(child, ChildEnd())

    def _end(self, child: Child, end: ChildEnd) -> None:
        if child.pid is not None:
            del self._children[child.pid]
        if child.pidfd is not None:
            self._loop.remove_reader(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = None
        if child.channel is not None:
            child.channel.read_rest()
            child.channel.close()
            child.channel = None
        child.unsent = None
        if child.stopped is not None:
            child.stopped.cancel()
        if child.tail is not None:
            last_lines = child.tail.close()
            child.tail = None
            end = msgspec.structs.replace(end, last_lines=(*last_lines, *end.last_lines))
        child.on_end(end)
        self._checkpoint.drop(f"{CHILD_PREFIX}{child.record.process.index}")
