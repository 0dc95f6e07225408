"""The process table of the server: who lives, by index and epoch."""

from typing import Self

from mpserve import _native
from mpserve.shm.segment import PREFIX, Segment

KIND = "board"
PROCESSES = 4096  # supervisor, frontends and workers together


class Board:
    """The process table over its segment. The supervisor makes and changes it; others read.

    Attributes
    ----------
    name
        Segment name, for `attach` in another process.
    native
        The native object that arenas and queues ask.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.name = segment.name
        self.native: _native.Board = _native.Board(segment)

    @classmethod
    def create(cls, server_id: str, processes: int = PROCESSES) -> Self:
        """Make an empty table; raises `ArenaFull` when there is no room."""
        segment = Segment.create(server_id, KIND, _native.Board.required_bytes(processes))
        _native.Board.format(segment, processes)
        return cls(segment)

    @classmethod
    def attach(cls, name: str) -> Self:
        """Map the table of a running server."""
        return cls(Segment.attach(name))

    @staticmethod
    def segment_name(server_id: str) -> str:
        """Return the name of a server's table."""
        return f"{PREFIX}{server_id}-{KIND}"

    def begin(self, index: int) -> int:
        """Return the epoch of a process that is about to start at `index`."""
        return self.native.begin(index)

    def end(self, index: int) -> None:
        """Note that the process at `index` is dead and reaped: what it borrowed returns."""
        self.native.end(index)

    def is_current(self, index: int, epoch: int) -> bool:
        """Tell whether (index, epoch) lives."""
        return self.native.is_current(index, epoch)

    def close(self) -> None:
        """Unmap; the object can not be used afterwards."""
        del self.native
        self._segment.close()

    def unlink(self) -> None:
        """Remove the segment's name."""
        self._segment.unlink()
