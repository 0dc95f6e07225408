"""A process's own arena, and the way to the arenas of others.

Owner: the process (index, epoch) makes segments and removes them; when it is dead the supervisor
sweeps the rest by the names.
"""

from mpserve import _native
from mpserve.errors import ArenaFull
from mpserve.shm.segment import PREFIX, Segment, unlink
from mpserve.shm.sweep import arena_kind


class ArenaSegments:
    """Makes, removes and attaches the segments of arenas of one server."""

    def __init__(self, server_id: str, process_index: int, epoch: int) -> None:
        self._server_id = server_id
        self._own = arena_kind(process_index, epoch)

    def create(self, number: int, size: int) -> Segment | None:
        """Make a segment of this process's arena; `None` when there is no room."""
        try:
            return Segment.create(self._server_id, f"{self._own}.{number}", size)
        except ArenaFull:
            return None

    def remove(self, number: int) -> None:
        """Remove the name of a segment of this process's arena."""
        unlink(f"{PREFIX}{self._server_id}-{self._own}.{number}")

    def attach(self, process_index: int, epoch: int, number: int) -> Segment:
        """Map a segment of another process's arena; `FileNotFoundError` when it is gone."""
        return Segment.attach(
            f"{PREFIX}{self._server_id}-{arena_kind(process_index, epoch)}.{number}"
        )


def open_arena(segments: ArenaSegments, *, initial_bytes: int, max_bytes: int) -> _native.Arena:
    """Return this process's empty arena; nothing is reserved before the first block.

    Parameters
    ----------
    initial_bytes
        Size of the first segment.
    max_bytes
        Limit of all segments together; a block past it is refused.
    """
    return _native.Arena(segments.create, segments.remove, initial_bytes, max_bytes)
