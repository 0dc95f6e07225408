"""The supervisor's end of the spawner: asks it to fork, and replaces it when it died."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Final, Protocol

from mpserve.control.channel import Channel
from mpserve.control.messages import (
    ChildExited,
    FromSpawner,
    Spawn,
    Spawned,
    SpawnFailed,
    StopSpawner,
)
from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns
from mpserve.supervisor.entrypoints import EntryPoints
from mpserve.supervisor.spawner import SpawnerArguments, execute_spawner
from mpserve.telemetry import log

POLICY: Final = RestartPolicy()
STOP_SECONDS: Final = 2.0  # it may be in the middle of an import


class SpawnerOwner(Protocol):
    """Who is told what the spawner says."""

    def on_spawner_message(self, message: Spawned | SpawnFailed | ChildExited) -> None:
        """A child was forked, could not be, or ended."""

    def on_spawner_ended(self) -> None:
        """The spawner died: answers that are due never come; its children are ours from now on."""


class SpawnerLink:
    """Talks to the present spawner.

    Parameters
    ----------
    pid, connected
        First spawner and our end of its control socket.
    kept_fds
        Descriptors that every spawner and child must have, by number.
    """

    def __init__(
        self,
        *,
        pid: int,
        connected: socket.socket,
        kept_fds: tuple[int, ...],
        entry_points: EntryPoints,
        now_ns: Callable[[], int],
    ) -> None:
        self._pid = pid
        self._kept_fds = kept_fds
        self._entry_points = entry_points
        self._now_ns = now_ns
        self._loop = asyncio.get_running_loop()
        self._owner: SpawnerOwner | None = None
        self._deaths = Deaths()
        self._waiting: list[tuple[Spawn, tuple[int, ...]]] = []
        self._is_stopping = False
        self._ended = asyncio.Event()
        self._channel: Channel[FromSpawner] | None = self._opened(connected)

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

    async def stop(self) -> None:
        """End the spawner, which has no child left, and reap it."""
        self._is_stopping = True
        if self._channel is None:
            return
        self._channel.send(StopSpawner())
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._channel.close()
            self._reap()

    def _opened(self, connected: socket.socket) -> Channel[FromSpawner]:
        return Channel.open(
            connected, FromSpawner, on_message=self._on_message, on_end=self._on_end
        )

    def _on_message(self, message: FromSpawner) -> None:
        assert self._owner is not None, "the spawner speaks before anybody asked"
        self._owner.on_spawner_message(message)

    def _on_end(self, reason: Exception | None) -> None:
        self._channel = None
        self._reap()
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

    def _reap(self) -> None:
        """End the process for certain, so that this does not wait; it is of no use any more."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

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
                )
            )
        self._ended.clear()
        self._channel = self._opened(ours)
        log.info("spawner.started", pid=self._pid)
        waiting, self._waiting = self._waiting, []
        for message, fds in waiting:
            self._channel.send(message, fds=fds)
