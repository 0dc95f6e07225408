"""A worker's control socket, to one supervisor after the other.

Guarantees: what was told (`tell`) is told again to each supervisor that follows; what was only sent
(`send`) is for the present one.
"""

import os
import socket
import threading

from mpserve.control.channel import BlockingChannel
from mpserve.control.door import Caller, own_stderr, ring
from mpserve.control.message import Message
from mpserve.control.messages import (
    CallDone,
    CallersJoined,
    PublishTable,
    SetLog,
    SharedPlaces,
    StopWorker,
    TellMetrics,
    ToWorker,
)

Received = StopWorker | SetLog | TellMetrics | CallersJoined | PublishTable | CallDone


class SupervisorLink:
    """`send` and `tell` may be called from any thread, the others from one."""

    def __init__(self, control: socket.socket, places: SharedPlaces) -> None:
        self._channel: BlockingChannel[Received] = BlockingChannel(control, ToWorker)
        self._door_fd = places.door_fd
        self._caller = Caller(
            process_index=places.process_index, epoch=places.epoch, pid=os.getpid()
        )
        self._stderr_fd = own_stderr()
        self._lock = threading.Lock()
        self._told: list[Message] = []  # guarded by the lock, as what `_channel` is

    def send(self, message: Message) -> None:
        """Tell the present supervisor; without effect when it is gone."""
        self._channel.send(message)

    def tell(self, message: Message) -> None:
        """Tell this supervisor, and each that follows it."""
        with self._lock:
            self._told.append(message)
            self._channel.send(message)

    def receive(self) -> Received | None:
        """Wait for the next message; `None` when the supervisor is gone."""
        return self._channel.receive()

    def come_back(self) -> bool:
        """Turn to the next supervisor; false when there will be none."""
        control = ring(self._door_fd, self._caller, stderr_fd=self._stderr_fd)
        if control is None:
            return False
        with self._lock:
            self._channel.close()
            self._channel = BlockingChannel(control, ToWorker)
            for message in self._told:
                self._channel.send(message)
        return True
