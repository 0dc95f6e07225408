"""Finished requests on their way to one frontend."""

from typing import Self

from mpserve import _native
from mpserve.shm.segment import Segment

CAPACITY = 8192  # answers that may wait for one frontend: 512 KiB


class CompletionRing:
    """A completion ring over its segment.

    Attributes
    ----------
    name
        Segment name, for `attach` in another process.
    native
        The native object.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.name = segment.name
        self.native: _native.CompletionRing = _native.CompletionRing(segment)

    @classmethod
    def create(cls, server_id: str, frontend_index: int, capacity: int = CAPACITY) -> Self:
        """Make an empty ring; `capacity` is a power of two."""
        size = _native.CompletionRing.required_bytes(capacity)
        segment = Segment.create(server_id, f"ring{frontend_index}", size)
        _native.CompletionRing.format(segment, capacity)
        return cls(segment)

    @classmethod
    def attach(cls, name: str) -> Self:
        """Map a ring of a running server."""
        return cls(Segment.attach(name))

    def close(self) -> None:
        """Unmap; the object can not be used afterwards."""
        del self.native
        self._segment.close()

    def unlink(self) -> None:
        """Remove the segment's name."""
        self._segment.unlink()
