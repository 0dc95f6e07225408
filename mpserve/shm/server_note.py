"""What a running server tells of itself on this machine: a note in its owner's file.

Guarantees: a note that can be read is of a server that lives in this process namespace, and whose
user we are (or root): the file is locked, and the process that it names has it open.
Owner: the root writes the first note, the living supervisor the others.
"""

import os

import msgspec

from mpserve.shm.segment import DIRECTORY, PREFIX
from mpserve.shm.server_id import OWNER, ServerIdentity

_PAGE = 4096
"""Bytes of a note with what fills it up: one `pwrite`, so that a reader sees one note."""
_FAULT_CHARACTERS = 600
"""So many fit in a page, however they are escaped."""


class ServerNote(msgspec.Struct, frozen=True, kw_only=True):
    """The present note.

    Attributes
    ----------
    pid
        Of the root: the process that was started, and that takes signals.
    readings
        How often the settings were read again.
    changed
        What the last reading changed.
    fault
        Why the last reading changed nothing, or what of it could not be used; "" for nothing.
    """

    pid: int
    readings: int = 0
    changed: tuple[str, ...] = ()
    fault: str = ""


def write_note(identity: ServerIdentity, note: ServerNote) -> None:
    """Put `note` in the place of the last one."""
    text = msgspec.json.encode(note)
    if len(text) > _PAGE:
        text = msgspec.json.encode(
            msgspec.structs.replace(note, changed=(), fault=note.fault[:_FAULT_CHARACTERS])
        )
    os.pwrite(identity.owner_fd, text.ljust(_PAGE), 0)


def read_note(identity: ServerIdentity) -> ServerNote:
    """Return the present note of our own server."""
    return msgspec.json.decode(os.pread(identity.owner_fd, _PAGE, 0), type=ServerNote)


def living_notes() -> list[ServerNote]:
    """Return the notes of all servers that run, by pid."""
    with os.scandir(DIRECTORY) as entries:
        paths = [one.path for one in entries if _is_owner_file(one.name)]
    notes = [note for path in paths if (note := _living_note(path)) is not None]
    return sorted(notes, key=lambda note: note.pid)


def _is_owner_file(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith(f"-{OWNER}")


def _living_note(path: str) -> ServerNote | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  one look at the file for both
            note = msgspec.json.decode(file.read(_PAGE), type=ServerNote)
            status = os.fstat(file.fileno())
        return note if _has_open(note.pid, status) else None
    except (OSError, msgspec.MsgspecError):  # gone meanwhile, another user's, or not yet written
        return None


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    """Tell whether a process has the file open: pids of dead servers may be somebody else's."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208  names alone are needed
        try:
            status = os.stat(f"{folder}/{name}")  # noqa: PTH116  as above
        except FileNotFoundError:
            continue
        if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
