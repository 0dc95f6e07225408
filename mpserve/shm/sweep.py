"""Removing segments whose server or process is dead, and no one else's."""

import fcntl
import os

from mpserve.shm.segment import DIRECTORY, PREFIX, unlink
from mpserve.shm.server_id import OWNER


def sweep_dead_servers() -> int:
    """Remove all segments of servers of which no process lives; return how many."""
    removed = 0
    for server_id in _server_ids():
        descriptor = _lock_of_dead(server_id)
        if descriptor is None:
            continue
        removed += sweep_server(server_id)
        os.close(descriptor)
    return removed


def sweep_server(server_id: str) -> int:
    """Remove every segment of one server, the owner's file last; return how many."""
    owner = f"{PREFIX}{server_id}-{OWNER}"
    names = [name for name in _names(f"{PREFIX}{server_id}-") if name != owner]
    for name in names:
        unlink(name)
    unlink(owner)
    return len(names) + 1


def sweep_segments(server_id: str) -> None:
    """Remove every segment of our own server, but not the owner's file."""
    prefix = f"{PREFIX}{server_id}-"
    for name in _names(prefix):
        if name != f"{prefix}{OWNER}":
            unlink(name)


def sweep_process(server_id: str, process_index: int, epoch: int) -> int:
    """Remove the arena segments of one dead process; return how many."""
    names = _names(f"{PREFIX}{server_id}-{arena_kind(process_index, epoch)}.")
    for name in names:
        unlink(name)
    return len(names)


def arena_kind(process_index: int, epoch: int) -> str:
    """Return the part of an arena segment's name that tells its process."""
    return f"a{process_index}.{epoch}"


def _names(prefix: str) -> list[str]:
    with os.scandir(DIRECTORY) as entries:
        return [entry.name for entry in entries if entry.name.startswith(prefix)]


def _server_ids() -> set[str]:
    return {name[len(PREFIX) :].split("-", 1)[0] for name in _names(PREFIX)}


def _lock_of_dead(server_id: str) -> int | None:
    """Return the locked owner file of a dead server, `None` when the server lives."""
    path = f"{DIRECTORY}/{PREFIX}{server_id}-{OWNER}"
    try:
        # Made when missing: segments without an owner file are of a server killed while it ended.
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except PermissionError:
        return None  # another user's server
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def arena_processes(server_id: str) -> set[tuple[int, int]]:
    """Return (process index, epoch) of every arena that has a segment."""
    prefix = f"{PREFIX}{server_id}-a"
    found = set()
    for name in _names(prefix):
        index, epoch, _part = name.removeprefix(prefix).split(".")
        found.add((int(index), int(epoch)))
    return found


def queue_generations(server_id: str) -> set[int]:
    """Return the generations whose queue has a segment."""
    prefix = f"{PREFIX}{server_id}-queue"
    return {int(name.removeprefix(prefix)) for name in _names(prefix)}
