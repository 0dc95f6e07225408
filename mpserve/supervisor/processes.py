"""Children of the server: workers and frontends, from the request to fork until the reaped end.

Guarantees
    `on_end` of a child is called exactly once, after its process is gone for certain, whatever died
    first: the child, the spawner, or both. A pid is never signalled after it may have been reused
    (pidfd).
Assumes
    This process is a subreaper: children of a dead spawner become its own.
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
from mpserve.control.framing import MessageTypes
from mpserve.control.messages import (
    ChildExited,
    FrontendStart,
    Message,
    Program,
    Spawn,
    Spawned,
    SpawnFailed,
    WorkerStart,
)
from mpserve.supervisor.spawner_link import SpawnerLink
from mpserve.supervisor.stderr_tail import StderrTail

UNSEEN_END_SECONDS: Final = 1.0
"""How long the spawner may take to tell of an end that the pidfd has shown; it sleeps in poll."""


class ChildEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended; neither code nor signal when nobody saw it.

    Attributes
    ----------
    last_lines
        Of its stderr, oldest first.
    """

    exit_code: int | None = None
    signal_number: int | None = None
    last_lines: tuple[str, ...] = ()


class Child:
    """One child as the supervisor holds it. Made by `Processes.spawn`."""

    def __init__(self, *, spawn_id: int, title: str, on_end: Callable[[ChildEnd], None]) -> None:
        self.spawn_id = spawn_id
        self.title = title
        self.pid: int | None = None
        self.channel: Channel[Message] | None = None
        self.tail: StderrTail | None = None
        self.pidfd: int | None = None
        self.is_gone = False
        self.is_to_be_killed = False
        self.on_end = on_end

    def send(self, message: Message) -> None:
        """Send `message`; without effect when the child is gone."""
        if self.channel is not None:
            self.channel.send(message)

    def has_unread(self) -> bool:
        """Tell whether the child has not yet read all that it was sent."""
        return self.channel is not None and self.channel.has_unread()

    def kill(self) -> None:
        """End the child at once (SIGKILL)."""
        self.is_to_be_killed = True
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Processes:
    """All children. The spawner tells of their ends; pidfds tell when it can not."""

    def __init__(self, link: SpawnerLink) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._last_spawn_id = 0
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
        title: str,
        program: Program | None = None,
        receives: MessageTypes,
        on_message: Callable[[Message], None],
        on_end: Callable[[ChildEnd], None],
    ) -> Child:
        """Ask for a child of `role`; it may be sent messages at once.

        Parameters
        ----------
        program
            What the child becomes; a fork of the spawner when there is none.
        receives
            Union of what the child may send; `on_message` gets it.
        on_end
            Called once, when the process is gone or could not be started.
        """
        self._last_spawn_id += 1
        child = Child(spawn_id=self._last_spawn_id, title=title, on_end=on_end)
        ours, theirs = socket.socketpair()
        child.tail, stderr_fd = StderrTail.open()
        child.channel = Channel.open(
            ours, receives, on_message=on_message, on_end=lambda _reason: None
        )
        self._awaited[child.spawn_id] = child
        message = Spawn(
            spawn_id=child.spawn_id,
            role=role,
            title=title,
            start=msgspec.msgpack.encode(start),
            program=program,
        )
        self._link.spawn(message, fds=(theirs.detach(), stderr_fd))
        if self._told_to_all is not None:
            child.send(self._told_to_all)
        return child

    def tell_all(self, message: Message) -> None:
        """Send a message to every child, and to each that starts from now on before any other."""
        self._told_to_all = message
        for child in (*self._awaited.values(), *self._children.values()):
            child.send(message)

    def kill_all(self) -> None:
        """End every child at once."""
        for child in (*self._awaited.values(), *self._children.values()):
            child.kill()

    def on_spawner_message(self, message: Spawned | SpawnFailed | ChildExited) -> None:
        """Take what the spawner tells (called by the link)."""
        match message:
            case Spawned():
                self._on_spawned(message)
            case SpawnFailed():
                child = self._awaited.pop(message.spawn_id)
                self._end(child, ChildEnd(last_lines=(f"fork: {message.reason}",)))
            case ChildExited():
                ended = self._children.get(message.pid)
                if ended is not None:
                    end = ChildEnd(exit_code=message.exit_code, signal_number=message.signal_number)
                    self._end(ended, end)

    def on_spawner_ended(self) -> None:
        """Take over the children of a dead spawner (called by the link)."""
        for child in tuple(self._awaited.values()):
            # If it was forked all the same, it sees the end of its socket and ends.
            del self._awaited[child.spawn_id]
            self._end(child, ChildEnd(last_lines=("the spawner died before it answered",)))
        for child in tuple(self._children.values()):
            if child.is_gone:
                self._end_unseen(child)

    def _on_spawned(self, message: Spawned) -> None:
        child = self._awaited.pop(message.spawn_id)
        child.pid = message.pid
        self._children[message.pid] = child
        try:
            child.pidfd = os.pidfd_open(message.pid)
        except ProcessLookupError:
            return  # ended and reaped: `ChildExited` follows
        self._loop.add_reader(child.pidfd, self._on_gone, child)
        if child.is_to_be_killed:
            child.kill()

    def _on_gone(self, child: Child) -> None:
        """The pidfd shows that the process has ended; whose child it is decides who learns how."""
        assert child.pidfd is not None
        child.is_gone = True
        self._loop.remove_reader(child.pidfd)
        if not self._reap(child):
            self._loop.call_later(UNSEEN_END_SECONDS, self._end_unseen, child)

    def _end_unseen(self, child: Child) -> None:
        if child.pid in self._children and not self._reap(child):
            self._end(child, ChildEnd())

    def _reap(self, child: Child) -> bool:
        """Reap a child that became our own; false when it is not ours, or not any more."""
        assert child.pidfd is not None
        try:
            status = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return False
        if status is None:
            return False
        exited = status.si_code == os.CLD_EXITED
        self._end(
            child,
            ChildEnd(
                exit_code=status.si_status if exited else None,
                signal_number=None if exited else status.si_status,
            ),
        )
        return True

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
        if child.tail is not None:
            last_lines = child.tail.close()
            child.tail = None
            end = msgspec.structs.replace(end, last_lines=(*last_lines, *end.last_lines))
        child.on_end(end)
