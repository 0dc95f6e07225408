"""Finished requests on their way to one frontend, or to one worker that calls models."""

from typing import Self

from mpserve import _native
from mpserve.shm.segment import PREFIX, Segment
from mpserve.shm.sweep import arena_kind

KIND = "ring"
CAPACITY = 8192  # answers that may wait for one frontend: 512 KiB
CALLER_CAPACITY = 1024  # answers that may wait for one worker: 64 KiB
MAX_RINGS: int = _native.MAX_RINGS


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
        segment = Segment.create(server_id, f"{KIND}{frontend_index}", size)
        _native.CompletionRing.format(segment, capacity)
        return cls(segment)

    @staticmethod
    def segment_name(server_id: str, frontend_index: int) -> str:
        """Return the name of a frontend's ring."""
        return f"{PREFIX}{server_id}-{KIND}{frontend_index}"

    @classmethod
    def create_for_caller(cls, server_id: str, process_index: int, epoch: int) -> Self:
        """Make the ring of a worker that calls models; it is swept with the worker's arena."""
        size = _native.CompletionRing.required_bytes(CALLER_CAPACITY)
        segment = Segment.create(server_id, f"{arena_kind(process_index, epoch)}.ring", size)
        _native.CompletionRing.format(segment, CALLER_CAPACITY)
        return cls(segment)

    @classmethod
    def attach_of_caller(cls, server_id: str, process_index: int, epoch: int) -> Self:
        """Map the ring of a worker that calls models; `FileNotFoundError` when it is gone."""
        return cls.attach(f"{PREFIX}{server_id}-{arena_kind(process_index, epoch)}.ring")

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
