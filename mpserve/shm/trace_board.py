"""Counts of who is traced, which all processes of the server share."""

from typing import Final, Self

from mpserve import _native
from mpserve.shm.segment import PREFIX, Segment

KIND: Final = "traces"
SLOTS: Final = _native.TRACE_SLOTS


class TraceBoard:
    """The counts over their segment. The supervisor makes it.

    Attributes
    ----------
    native
        The native object that dispatchers ask.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.native: _native.TraceBoard = _native.TraceBoard(segment)

    @classmethod
    def create(cls, server_id: str) -> Self:
        """Make an empty board; raises `ArenaFull` when there is no room."""
        segment = Segment.create(server_id, KIND, _native.TraceBoard.required_bytes())
        _native.TraceBoard.format(segment)
        return cls(segment)

    @classmethod
    def attach(cls, server_id: str) -> Self:
        """Map the board of a running server."""
        return cls(Segment.attach(f"{PREFIX}{server_id}-{KIND}"))
