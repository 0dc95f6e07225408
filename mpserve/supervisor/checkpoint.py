"""What the supervisor knows, where its death can not reach it: a log of entries in memory.

Layout
    Two files without a name (memfd), made by the root process and inherited by every supervisor.
    The first eight bytes are a number; the file with the higher one counts. Then come entries:
    length of the key, length of the value (`_DROPPED`: the key is no more), key, value. The last
    entry of a key counts.
Guarantees
    An entry is whole or not there, whenever the supervisor is killed. The files grow to a few times
    what is kept, then what is kept is copied to the other one. Whatever is written later is there
    only if what was noted earlier is there, too.
Owner
    The living supervisor alone writes; the next one reads, once, before it writes.
"""

import os
import struct
from typing import Final, NamedTuple, TypeVar

import msgspec

_NUMBER: Final = struct.Struct("<Q")
_ENTRY: Final = struct.Struct("<II")
_DROPPED: Final = 0xFFFFFFFF
_SPARE_BYTES: Final = 4 << 20
"""A file is not copied before this much of it is not needed any more."""


Kept = TypeVar("Kept", bound=msgspec.Struct)


class _Place(NamedTuple):
    """Where a value lies in the present file."""

    start: int
    length: int


def checkpoint_files() -> tuple[int, int]:
    """Return two empty files; they are closed when a program is executed."""
    return (os.memfd_create("mpserve-state-0"), os.memfd_create("mpserve-state-1"))


class Checkpoint:
    """Entries by key. Opening it reads what an earlier supervisor kept."""

    def __init__(self, files: tuple[int, int]) -> None:
        numbers = [_number(fd) for fd in files]
        present = numbers.index(max(numbers))
        self._fd, self._other_fd = files[present], files[1 - present]
        self._number = numbers[present]
        self._places = _entries(self._fd) if self._number else {}
        self._noted: dict[str, msgspec.Struct] = {}
        self._end = 0
        self._kept_bytes = sum(place.length for place in self._places.values())
        self._copy()  # what may be cut off at the end is left behind

    def is_empty(self) -> bool:
        """Tell whether nothing was kept: this is the server's first supervisor."""
        return not self._places

    def put(self, key: str, value: msgspec.Struct) -> None:
        """Keep `value` under `key`, in place of what was there."""
        self.note(key, value)
        self.flush()

    def note(self, key: str, value: msgspec.Struct) -> None:
        """Keep `value` as it is at the next `flush`, `put` or `drop`, from then on.

        For what changes several times before anything is done that must not be forgotten.
        """
        self._noted[key] = value

    def flush(self) -> None:
        """Keep what was noted."""
        if not self._noted:
            return
        entries = bytearray()
        places: dict[str, _Place] = {}
        for key, value in self._noted.items():
            encoded = msgspec.msgpack.encode(value)
            name = key.encode()
            entries += _ENTRY.pack(len(name), len(encoded)) + name + encoded
            end = self._end + len(entries)
            places[key] = _Place(end - len(encoded), len(encoded))
        self._noted.clear()
        self._append(entries)
        for key, place in places.items():
            self._kept_bytes += place.length - self._length(key)
        self._places.update(places)
        self._copy_when_due()

    def drop(self, key: str) -> None:
        """Keep nothing under `key`."""
        self.flush()
        if key in self._places:
            name = key.encode()
            self._append(_ENTRY.pack(len(name), _DROPPED) + name)
            self._kept_bytes -= self._length(key)
            del self._places[key]
            self._copy_when_due()

    def read(self, key: str, kind: type[Kept]) -> Kept | None:
        """Return what is kept under `key`."""
        self.flush()
        place = self._places.get(key)
        return None if place is None else self._decoded(place, kind)

    def read_all(self, prefix: str, kind: type[Kept]) -> dict[str, Kept]:
        """Return what is kept under the keys that begin with `prefix`, by the rest of the key."""
        self.flush()
        return {
            key.removeprefix(prefix): self._decoded(place, kind)
            for key, place in self._places.items()
            if key.startswith(prefix)
        }

    def _decoded(self, place: _Place, kind: type[Kept]) -> Kept:
        return msgspec.msgpack.decode(os.pread(self._fd, place.length, place.start), type=kind)

    def _length(self, key: str) -> int:
        place = self._places.get(key)
        return 0 if place is None else place.length

    def _append(self, entries: bytes | bytearray) -> None:
        _write_at(self._fd, entries, self._end)
        self._end += len(entries)

    def _copy_when_due(self) -> None:
        if self._end > 3 * self._kept_bytes + _SPARE_BYTES:
            self._copy()

    def _copy(self) -> None:
        """Write what is kept to the other file, then let that one count."""
        source, self._fd, self._other_fd = self._fd, self._other_fd, self._fd
        os.ftruncate(self._fd, 0)
        self._end = _NUMBER.size
        places: dict[str, _Place] = {}
        for key, place in self._places.items():
            name = key.encode()
            value = os.pread(source, place.length, place.start)
            self._append(_ENTRY.pack(len(name), len(value)) + name + value)
            places[key] = _Place(self._end - len(value), len(value))
        self._places = places
        self._number += 1
        os.pwrite(self._fd, _NUMBER.pack(self._number), 0)  # COMMIT: killed before, the old counts
        os.ftruncate(source, 0)


def _number(fd: int) -> int:
    head = os.pread(fd, _NUMBER.size, 0)
    return int(_NUMBER.unpack(head)[0]) if len(head) == _NUMBER.size else 0


def _entries(fd: int) -> dict[str, _Place]:
    """Return where the last value of each key lies; an entry that was cut off is not there."""
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    places: dict[str, _Place] = {}
    at = _NUMBER.size
    while at + _ENTRY.size <= len(content):
        key_bytes, value_bytes = _ENTRY.unpack_from(content, at)
        value_at = at + _ENTRY.size + key_bytes
        end = value_at + (0 if value_bytes == _DROPPED else value_bytes)
        if end > len(content):
            break
        key = content[at + _ENTRY.size : value_at].decode()
        if value_bytes == _DROPPED:
            places.pop(key, None)
        else:
            places[key] = _Place(value_at, value_bytes)
        at = end
    return places


def _write_at(fd: int, content: bytes | bytearray, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, at)
        at += written
        view = view[written:]
