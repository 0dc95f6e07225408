"""What the root owns and every supervisor inherits: identity, descriptors, door, checkpoint."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from mpserve.shm.server_id import ServerIdentity, claim_server_id, release_server_id
from mpserve.shm.sweep import sweep_server
from mpserve.supervisor.unix_socket import NO_SOCKET


class Inheritance(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor is born with.

    Attributes
    ----------
    wake_fds
        One eventfd for each frontend.
    http_fd, is_http_fd_lent
        Socket of the frontends, `NO_SOCKET` for none; a service manager's own goes on without us.
    grpc_fd, is_grpc_fd_lent
        Likewise for gRPC.
    metrics_fd
        A service manager's, for the supervisor; `NO_SOCKET` for none.
    door, door_fd
        Inner and outer end of the door.
    state_files
        Of the checkpoint.
    """

    identity: ServerIdentity
    wake_fds: tuple[int, ...]
    http_fd: int
    is_http_fd_lent: bool = False
    grpc_fd: int = NO_SOCKET
    is_grpc_fd_lent: bool = False
    metrics_fd: int = NO_SOCKET
    door: socket.socket
    door_fd: int
    state_files: tuple[int, int]

    def kept_fds(self) -> tuple[int, ...]:
        """Return what the spawner and its children do not close."""
        sockets = (fd for fd in (self.http_fd, self.grpc_fd) if fd != NO_SOCKET)
        return (self.identity.owner_fd, self.door_fd, *self.wake_fds, *sockets)


class FirstSpawner(msgspec.Struct, frozen=True, kw_only=True):
    """The spawner that the root forked, and our end of its control socket.

    The socket is closed when the first supervisor has it; to the others the spawner comes back.
    """

    pid: int
    started_ticks: int
    control: socket.socket


@contextmanager
def claimed_identity() -> Iterator[ServerIdentity]:
    """Hold a new server id; whatever carries it in `/dev/shm` is removed at the end."""
    identity = claim_server_id()
    try:
        yield identity
    finally:
        sweep_server(identity.server_id)
        release_server_id(identity)


@contextmanager
def wake_descriptors(count: int) -> Iterator[tuple[int, ...]]:
    """Hold one eventfd for each frontend, which every process started later inherits."""
    fds = tuple(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count))
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)
