"""The templates of a spawner: processes that have loaded a model and fork its instances.

A template is a child of the spawner and a spawner itself (`template`). What the supervisor asks for
with the number of a template goes on to it, and what it says comes back, so that the supervisor
speaks to one spawner.

Guarantees
    Each request that went to a template is answered, also when the template dies.
Owner
    The spawner. A template ends with its number (`EndTemplate`), with the spawner, or when a
    supervisor takes over and it has no living instance. Its instances live on.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterable

import msgspec

from mpserve.control.framing import FrameDecoder, encode_frame
from mpserve.control.spawner_messages import (
    Birth,
    ChildExited,
    FromSpawner,
    ReopenLog,
    Spawn,
    Spawned,
    SpawnFailed,
)
from mpserve.errors import InternalError

_READ_BYTES = 1 << 16


class TemplateEnds(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors at the fork of a template.

    Attributes
    ----------
    spawners, templates
        The two ends of its control socket.
    instance_fd, stderr_fd
        Of the first instance: its control socket, which the template has no use for, and what the
        load prints to.
    """

    spawners: socket.socket
    templates: socket.socket
    instance_fd: int
    stderr_fd: int


class _Template:
    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.decoder: FrameDecoder[FromSpawner] = FrameDecoder(FromSpawner)
        self.waiting: set[int] = set()  # spawn ids
        self.living: dict[int, int] = {}  # pid: spawn id


class Templates:
    """All templates, by number.

    Parameters
    ----------
    fork
        Forks the template of a request; returns its pid.
    send
        Tells the supervisor.
    """

    def __init__(
        self,
        *,
        fork: Callable[[Spawn, TemplateEnds], int],
        send: Callable[[FromSpawner], None],
    ) -> None:
        self._fork = fork
        self._send = send
        self._by_number: dict[int, _Template] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def descriptors(self) -> Iterable[int]:
        """Return what is to be read."""
        return [one.control.fileno() for one in self._by_number.values()]

    def living(self) -> Iterable[Spawned]:
        """Return the instances that live."""
        for template in self._by_number.values():
            for pid, spawn_id in template.living.items():
                yield Spawned(spawn_id=spawn_id, pid=pid)

    def spawn(self, message: Spawn, fds: list[int]) -> None:
        """Let the template of the request fork; start it when there is none."""
        try:
            template = self._by_number.get(message.birth.template)
            if template is None:
                template = self._start(message, fds)
            forwarded = encode_frame(msgspec.structs.replace(message, birth=Birth()))
            sent = socket.send_fds(template.control, [forwarded], fds)
            template.control.sendall(forwarded[sent:])
        except OSError as error:
            self._send(SpawnFailed(spawn_id=message.spawn_id, reason=str(error)))
        else:
            template.waiting.add(message.spawn_id)

    def reopen_log(self, message: ReopenLog) -> None:
        """Pass it on."""
        for template in self._by_number.values():
            with contextlib.suppress(OSError):  # it dies, which is told by the kernel
                template.control.sendall(encode_frame(message))

    def receive(self, readable: Iterable[int]) -> None:
        """Pass on what templates say; their ends are seen by `ended`."""
        for template in self._by_number.values():
            if template.control.fileno() in readable:
                self._receive(template)

    def ended(self, pid: int) -> bool:
        """Take the end of a child of the spawner; false when it was no template."""
        number = next((one for one, each in self._by_number.items() if each.pid == pid), None)
        if number is None:
            return False
        template = self._by_number.pop(number)
        template.control.settimeout(0)
        self._receive(template)  # its last words
        template.control.close()
        for spawn_id in template.waiting:
            reason = "the process that loads the model for all its instances ended"
            self._send(SpawnFailed(spawn_id=spawn_id, reason=reason))
        return True

    def end(self, number: int) -> None:
        """End a template; its instances live on."""
        template = self._by_number.get(number)
        if template is not None:
            os.kill(template.pid, signal.SIGKILL)

    def end_all(self) -> None:
        """End every template."""
        for number in self._by_number:
            self.end(number)

    def end_unused(self) -> None:
        """End those that have no living instance; who waits for one asks again."""
        for number, template in self._by_number.items():
            template.waiting.clear()
            if not template.living:
                self.end(number)

    def leave(self) -> None:
        """In a fork of the spawner: forget the templates, whose sockets must end with it."""
        for template in self._by_number.values():
            template.control.close()
        self._by_number.clear()

    def _start(self, message: Spawn, fds: list[int]) -> _Template:
        ours, theirs = socket.socketpair()
        instance_fd, stderr_fd = fds
        with theirs:
            ends = TemplateEnds(
                spawners=ours, templates=theirs, instance_fd=instance_fd, stderr_fd=stderr_fd
            )
            pid = self._fork(message, ends)
        template = _Template(pid, ours)
        self._by_number[message.birth.template] = template
        return template

    def _receive(self, template: _Template) -> None:
        try:
            chunk = template.control.recv(_READ_BYTES)
            told = template.decoder.feed(chunk)
        except (OSError, InternalError):
            return  # it dies, which is told by the kernel
        for message in told:
            match message:
                case Spawned():
                    template.waiting.discard(message.spawn_id)
                    template.living[message.pid] = message.spawn_id
                case SpawnFailed():
                    template.waiting.discard(message.spawn_id)
                case ChildExited():
                    template.living.pop(message.pid, None)
                case _:
                    pass
            self._send(message)
