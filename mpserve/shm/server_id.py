"""The identity of one running server: part of every segment's name, and a lock that proves life.

Guarantees: while any process of the server lives, nobody removes its segments (`sweep`). The proof
is an flock on `/dev/shm/mps-<id>-owner`, which the kernel drops with the last process that has it
open: it holds across process namespaces that share `/dev/shm` and knows no reused process ids.
"""

import fcntl
import os
import secrets

import msgspec

from mpserve.shm.segment import DIRECTORY, PREFIX, unlink

OWNER = "owner"


class ServerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed server id.

    Attributes
    ----------
    server_id
        Eight hexadecimal digits.
    owner_fd
        Open and locked for the server's life; inherited by all its processes.
    """

    server_id: str
    owner_fd: int


def claim_server_id() -> ServerIdentity:
    """Take a new server id; free ids are plenty, so this returns at once."""
    while True:
        server_id = secrets.token_hex(4)
        path = f"{DIRECTORY}/{PREFIX}{server_id}-{OWNER}"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _still_named(path, descriptor):
            return ServerIdentity(server_id=server_id, owner_fd=descriptor)
        os.close(descriptor)  # a sweep came between open and lock


def release_server_id(identity: ServerIdentity) -> None:
    """Give the id back; all segments of the server are removed already."""
    unlink(f"{PREFIX}{identity.server_id}-{OWNER}")
    os.close(identity.owner_fd)


def _still_named(path: str, descriptor: int) -> bool:
    try:
        named = os.stat(path)  # noqa: PTH116  Path costs an import at start
        return named.st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
