"""The supervisor's end of the root, and of the door that both hold.

Guarantees: signals reach the server in their order, each once; those that came before somebody
listens are kept. The end of the root counts as a signal to end: there is nobody left to end for.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

from mpserve.control.channel import Channel
from mpserve.control.door import Call, Doorkeeper
from mpserve.control.framing import encode_frame
from mpserve.control.messages import SetLog, StopWorker
from mpserve.control.root_messages import (
    Alive,
    FromRoot,
    Notice,
    ReloadSettings,
    ServerEnded,
    SettingsReloaded,
    StopServer,
)
from mpserve.control.spawner_messages import ChildExited, ChildStopped, StopSpawner
from mpserve.model.log_switches import LogSwitches

BEAT_SECONDS: Final = 1.0
NO_SIGNAL: Final = 0

Received = StopServer | ReloadSettings | ChildExited | ChildStopped


class RootLink:
    """Talks to the root. Made inside the event loop."""

    def __init__(self, root: socket.socket, door: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._door = door
        self._doorkeeper: Doorkeeper | None = None
        self._kept: list[Received] = []
        self._on_stop: Callable[[int], None] | None = None
        self._on_reload: Callable[[], None] | None = None
        self._on_child: Callable[[ChildExited | ChildStopped], None] | None = None
        self.is_orphan = False
        self._channel: Channel[Received] = Channel.open(
            root, FromRoot, on_message=self._take, on_end=self._on_end
        )

    def attach(
        self,
        *,
        on_stop: Callable[[int], None],
        on_reload: Callable[[], None],
        on_child: Callable[[ChildExited | ChildStopped], None],
    ) -> None:
        """Tell of signals (by number) and of the root's own children from now on."""
        self._on_stop, self._on_reload, self._on_child = on_stop, on_reload, on_child
        kept, self._kept = self._kept, []
        for message in kept:
            self._take(message)

    def open_door(self, on_call: Callable[[Call], None]) -> None:
        """Take children that come back from now on."""
        self._doorkeeper = Doorkeeper(self._door, on_call)

    def beat(self) -> None:
        """Tell the root from now on that the loop turns."""
        self._channel.send(Alive())
        self._loop.call_later(BEAT_SECONDS, self.beat)

    def notify(self, *lines: str) -> None:
        """Tell the service manager, if there is one."""
        self._channel.send(Notice(lines=lines))

    def switch_log(self, switches: LogSwitches) -> None:
        """Let the root write what `switches` say from now on."""
        self._channel.send(SetLog(switches=switches))

    def settings_reloaded(self, status: str) -> None:
        """Tell that the settings were read again, and the service manager what came of it."""
        self._channel.send(SettingsReloaded())
        self.notify("READY=1", f"STATUS={' '.join(status.split())}")

    def ended(self, exit_code: int) -> None:
        """Tell the root that the server ends on purpose: the last that is said."""
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        self._channel.send(ServerEnded(exit_code=exit_code))
        self._channel.close()

    def _take(self, message: Received) -> None:
        if self._on_stop is None or self._on_reload is None or self._on_child is None:
            self._kept.append(message)
        elif isinstance(message, StopServer):
            self._on_stop(message.signal_number)
        elif isinstance(message, ReloadSettings):
            self._on_reload()
        else:
            self._on_child(message)

    def _on_end(self, _reason: Exception | None) -> None:
        self.is_orphan = True
        self._take(StopServer(signal_number=NO_SIGNAL))


def refuse(call: Call) -> None:
    """Let a process end that comes back and that nobody knows: it was given up."""
    if call.caller.process_index == 0:
        farewell = encode_frame(StopSpawner())
    else:
        farewell = encode_frame(StopWorker())
    with call.control, contextlib.suppress(OSError):  # it may have died since it rang
        call.control.send(farewell)
    if call.stderr_fd >= 0:
        os.close(call.stderr_fd)
