"""A worker forked ahead of need: it does what no model can change, then waits for its birth.

What a fork pays once it runs (pages that it shares until it writes to them, the first thread, its
output, numbers drawn anew) is paid before anybody waits for it. A birth is the request that a fork
would have been made for, with its descriptors.

Guarantees
    There is one at most, and the supervisor hears of it only when it is born: from then on it is a
    child like any other. It ends at once with the spawner, and when what a fork would have now
    (modules, threads of libraries, the log's file) is not what it has. Nobody waits for one that is
    not ready, so one that fails beforehand fails no load; it is made again, later each time.
Owner
    The spawner, which makes it when nothing else is asked for.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.control.spawner_messages import ChildExited, ChildStopped, Spawn
from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns

TITLE: Final = "mps standby"
UNREADY_TITLE: Final = "mps standby..."
QUIET_MS: Final = 20
"""How long nothing was asked for: a load that has just begun is not to share the processors."""

POLICY: Final = RestartPolicy(first_delay_ns=1_000_000_000, max_delay_ns=60_000_000_000)
MAX_MESSAGE_BYTES: Final = 1 << 17  # a socket takes it at once; a larger one goes to a fork
FDS: Final = 2  # control socket, stderr
READY: Final = b"!"  # from one that has done what it does beforehand


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a fork has of the spawner, and another one may have otherwise.

    Attributes
    ----------
    modules
        Imported for runtimes.
    threads
        Of numerical libraries.
    """

    modules: frozenset[str] = frozenset()
    threads: int = 0


class StandbyEnds(msgspec.Struct, frozen=True, kw_only=True):
    """The two ends of the socket of a birth, at the fork."""

    spawners: socket.socket
    standbys: socket.socket


class _Present(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    control: socket.socket
    world: World


class Standby:
    """The spawner's end of it.

    Parameters
    ----------
    fork
        Forks it; returns its pid.
    """

    def __init__(self, *, fork: Callable[[StandbyEnds], int]) -> None:
        self._fork = fork
        self._present: _Present | None = None
        self._unborn: set[int] = set()
        self._deaths = Deaths()
        self._not_before_ns = 0

    def __len__(self) -> int:
        """Return how many processes are there that are no children of the supervisor yet."""
        return len(self._unborn)

    def wait_ms(self) -> int | None:
        """Return how long nothing is to be asked for until one is made; `None` for no need."""
        if self._present is not None:
            return None
        return max(QUIET_MS, (self._not_before_ns - time.monotonic_ns()) // 1_000_000 + 1)

    def make(self, world: World) -> None:
        """Fork one that has `world`."""
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:  # a child that is asked for meets the same, and that is told
            self._note_death()
            return
        with theirs:
            try:
                pid = self._fork(StandbyEnds(spawners=ours, standbys=theirs))
            except OSError:
                ours.close()
                self._note_death()
                return
        ours.setblocking(False)  # noqa: FBT003  # the function's only form
        self._unborn.add(pid)
        self._present = _Present(pid=pid, control=ours, world=world)

    def bear(self, message: Spawn, fds: list[int], world: World) -> int | None:
        """Let it be the child that `message` asks for; return its pid.

        `None` when there is none that can be: then a fork must.
        """
        present = self._present
        if present is None:
            return None
        if present.world != world:
            self.end()
            return None
        content = msgspec.msgpack.encode(message)
        if len(content) > MAX_MESSAGE_BYTES:
            return None
        try:
            present.control.recv(len(READY))  # unread, it would cut the socket off at its close
            socket.send_fds(present.control, [content], fds)
        except OSError:  # it is not ready, or has died
            return None
        self._present = None
        self._unborn.discard(present.pid)
        present.control.close()
        return present.pid

    def took(self, news: ChildExited | ChildStopped) -> bool:
        """Take what was told of a child of the spawner; false when it is none that waits."""
        if news.pid not in self._unborn:
            return False
        if isinstance(news, ChildStopped):
            self.end()  # it could not be born
            return True
        self._unborn.discard(news.pid)
        if self._present is not None and self._present.pid == news.pid:
            self._present.control.close()
            self._present = None
            self._note_death()
        return True

    def end(self) -> None:
        """End the one that waits."""
        if self._present is not None:
            self._present.control.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._present.pid, signal.SIGKILL)
            self._present = None

    def leave(self) -> None:
        """In a fork of the spawner: forget it, whose socket must end with the spawner."""
        if self._present is not None:
            self._present.control.close()
            self._present = None

    def _note_death(self) -> None:
        now_ns = time.monotonic_ns()
        self._deaths = record_death(self._deaths, now_ns=now_ns, policy=POLICY)
        again_ns = restart_at_ns(self._deaths, policy=POLICY)
        self._not_before_ns = now_ns + POLICY.max_delay_ns if again_ns is None else again_ns


class Born(msgspec.Struct, frozen=True, kw_only=True):
    """What one that waited was told."""

    message: Spawn
    control_fd: int
    stderr_fd: int


def say_ready(control: socket.socket) -> None:
    """Let the process itself be born from now on."""
    with contextlib.suppress(OSError):  # the spawner has ended, which is read next
        control.send(READY)


def await_birth(control: socket.socket) -> Born | None:
    """Wait, in the process itself; `None` when it is not needed any more."""
    with control:
        try:
            content, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, FDS)
        except ConnectionResetError:  # the spawner ended, and has not read that it is ready
            return None
    if not content:
        return None
    control_fd, stderr_fd = fds
    message = msgspec.msgpack.decode(content, type=Spawn)
    return Born(message=message, control_fd=control_fd, stderr_fd=stderr_fd)
