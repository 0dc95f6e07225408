"""The supervisor's end of the spawner: asks it to fork, and replaces it when it died."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from mpserve.control.channel import Channel
from mpserve.control.door import Call
from mpserve.control.spawner_messages import (
    ChildStopped,
    EndTemplate,
    FromSpawner,
    ReopenLog,
    Spawn,
    StopSpawner,
)
from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.entrypoints import EntryPoints
from mpserve.supervisor.inheritance import FirstSpawner
from mpserve.supervisor.pidfd import living_pidfd, started_ticks
from mpserve.supervisor.spawner import SpawnerArguments
from mpserve.supervisor.spawner_process import execute_spawner
from mpserve.telemetry import log

POLICY: Final = RestartPolicy()
KEY: Final = "spawner"
STOPPED_SECONDS: Final = 5.0  # as long as any other process may be stopped
STOP_SECONDS: Final = 2.0  # it may be in the middle of an import


class SpawnerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The present spawner in the checkpoint, when it is not the first."""

    pid: int
    started_ticks: int


class SpawnerOwner(Protocol):
    """Who is told what the spawner says."""

    def on_spawner_message(self, message: FromSpawner) -> None:
        """A child was forked, could not be, or ended."""

    def on_spawner_ended(self) -> None:
        """The spawner died: answers that are due never come; its children are ours from now on."""


class SpawnerLink:
    """Talks to the present spawner.

    Parameters
    ----------
    first
        The spawner that the root forked. With its socket closed this supervisor takes over: then
        the spawner that the checkpoint names, or else this one, comes back through the door.
    kept_fds
        Descriptors that every spawner and child must have, by number.
    """

    def __init__(
        self,
        *,
        first: FirstSpawner,
        kept_fds: tuple[int, ...],
        door_fd: int,
        entry_points: EntryPoints,
        checkpoint: Checkpoint,
        now_ns: Callable[[], int],
    ) -> None:
        self._kept_fds = kept_fds
        self._door_fd = door_fd
        self._checkpoint = checkpoint
        self._entry_points = entry_points
        self._now_ns = now_ns
        self._loop = asyncio.get_running_loop()
        self._owner: SpawnerOwner | None = None
        self._deaths = Deaths()
        self._waiting: list[tuple[Spawn, tuple[int, ...]]] = []
        self._is_stopping = False
        self._ended = asyncio.Event()
        self._stopped: asyncio.TimerHandle | None = None
        self._channel: Channel[FromSpawner] | None = None
        known = checkpoint.read(KEY, SpawnerRecord)
        present = known or SpawnerRecord(pid=first.pid, started_ticks=first.started_ticks)
        self._pid = present.pid
        self._pidfd = living_pidfd(present.pid, present.started_ticks)
        if first.control.fileno() >= 0:
            self._channel = self._opened(first.control)
        elif self._pidfd is None:
            self._loop.call_soon(self._on_end, None)
        else:  # it comes back, or ends
            self._loop.add_reader(self._pidfd, self._on_end, None)

    @property
    def pid(self) -> int:
        """Process id of the present spawner, or of the last one."""
        return self._pid

    def attach(self, owner: SpawnerOwner) -> None:
        """Tell `owner` from now on."""
        self._owner = owner

    def spawn(self, message: Spawn, *, fds: tuple[int, ...]) -> None:
        """Ask for a child, or ask the next spawner; `fds` go along and are closed here."""
        if self._channel is None:
            self._waiting.append((message, fds))
        else:
            self._channel.send(message, fds=fds)

    def end_template(self, number: int) -> None:
        """End a template; a spawner that died has taken its templates along."""
        if self._channel is not None:
            self._channel.send(EndTemplate(template=number))

    def reopen_log(self, path: str) -> None:
        """Let the spawner write to the log's file of this name; the next one does anyhow."""
        if path and self._channel is not None:
            self._channel.send(ReopenLog(path=path))

    def came_back(self, call: Call) -> bool:
        """Take the spawner that rang at the door; false when it is not the present one."""
        if call.caller.pid != self._pid or call.uid != os.getuid():
            return False
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        if self._channel is not None:
            self._channel.close()
        self._channel = self._opened(call.control)
        self._send_waiting()
        return True

    def on_stopped(self, message: ChildStopped) -> None:
        """Take that a child of the root was stopped or goes on: kill the spawner in time."""
        if message.pid != self._pid:
            return
        if self._stopped is not None:
            self._stopped.cancel()
            self._stopped = None
        if message.is_stopped:
            log.warning("process.stopped", title="mpserve spawner", pid=self._pid)
            self._stopped = self._loop.call_later(STOPPED_SECONDS, self._signal_kill)

    async def stop(self) -> None:
        """End the spawner, which has no child left, and reap it."""
        self._is_stopping = True
        if self._channel is None:
            self._kill()
            return
        self._channel.send(StopSpawner())
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._channel.close()
            self._kill()

    def _opened(self, connected: socket.socket) -> Channel[FromSpawner]:
        return Channel.open(
            connected, FromSpawner, on_message=self._on_message, on_end=self._on_end
        )

    def _on_message(self, message: FromSpawner) -> None:
        assert self._owner is not None, "the spawner speaks before anybody asked"
        self._owner.on_spawner_message(message)

    def _on_end(self, reason: Exception | None) -> None:
        self._channel = None
        self._kill()
        self._ended.set()
        if self._is_stopping:
            return
        log.error("spawner.died", pid=self._pid, reason=str(reason or "its socket was closed"))
        if self._owner is not None:
            self._owner.on_spawner_ended()
        self._deaths = record_death(self._deaths, now_ns=self._now_ns(), policy=POLICY)
        again_ns = restart_at_ns(self._deaths, policy=POLICY)
        delay_ns = POLICY.max_delay_ns if again_ns is None else again_ns - self._now_ns()
        self._loop.call_later(max(delay_ns, 0) / 1e9, self._restart)

    def _kill(self) -> None:
        """End the process for certain; it is of no use any more. The root reaps the first one."""
        if self._stopped is not None:
            self._stopped.cancel()
            self._stopped = None
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            self._signal_kill()
            os.close(self._pidfd)
            self._pidfd = None
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _signal_kill(self) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _restart(self) -> None:
        if self._is_stopping:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self._pid = execute_spawner(
                SpawnerArguments(
                    control_fd=theirs.fileno(),
                    kept_fds=self._kept_fds,
                    entry_points=dict(self._entry_points),
                    door_fd=self._door_fd,
                )
            )
        ticks = started_ticks(self._pid)
        self._pidfd = living_pidfd(self._pid, ticks)
        self._checkpoint.put(KEY, SpawnerRecord(pid=self._pid, started_ticks=ticks))
        self._ended.clear()
        self._channel = self._opened(ours)
        log.info("spawner.started", pid=self._pid)
        self._send_waiting()

    def _send_waiting(self) -> None:
        assert self._channel is not None
        waiting, self._waiting = self._waiting, []
        for message, fds in waiting:
            self._channel.send(message, fds=fds)
