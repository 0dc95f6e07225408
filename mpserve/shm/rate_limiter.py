"""The resources that executions of all models share (`--rate-limit=execution_count`)."""

import hashlib
from typing import Self

from mpserve import _native
from mpserve.errors import LoadError
from mpserve.model.config import InstanceGroup, ResourceNeed
from mpserve.model.rate_limit import RateLimits
from mpserve.shm.board import PROCESSES
from mpserve.shm.segment import PREFIX, Segment

KIND = "limits"


class RateLimiter:
    """The limiter over its segment. The supervisor makes it and enrols workers.

    Attributes
    ----------
    name
        Segment name, for `attach` in another process.
    native
        The native object that instances ask before each execution.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.name = segment.name
        self.native: _native.RateLimiter = _native.RateLimiter(segment)

    @classmethod
    def create(cls, server_id: str, processes: int = PROCESSES) -> Self:
        """Make an empty limiter; raises `ArenaFull` when there is no room."""
        segment = Segment.create(server_id, KIND, _native.RateLimiter.required_bytes(processes))
        _native.RateLimiter.format(segment, processes)
        return cls(segment)

    @classmethod
    def attach(cls, name: str) -> Self:
        """Map the limiter of a running server."""
        return cls(Segment.attach(name))

    @staticmethod
    def segment_name(server_id: str) -> str:
        """Return the name of a server's limiter."""
        return f"{PREFIX}{server_id}-{KIND}"

    def enrol(
        self, group: InstanceGroup, limits: RateLimits, *, process_index: int, epoch: int
    ) -> None:
        """Note what an instance's executions will take, before its worker starts.

        Raises
        ------
        LoadError
            There are too many resources.
        """
        counts: dict[int, int] = {}
        is_known = True
        for need in group.resources:
            key = resource_key(need)
            counts[key] = counts.get(key, 0) + need.count
            is_known = is_known and self.native.set_limit(key, limits.limit(need))
        needs = list(counts.items())
        if not is_known or not self.native.enrol(process_index, epoch, group.priority, needs):
            raise LoadError(
                f"instance group {group.name}: the rate limiter has no room for its resources; "
                "use fewer names"
            )

    def withdraw(self, process_index: int) -> None:
        """Note that a process is dead: what it held is free."""
        self.native.withdraw(process_index)


def resource_key(need: ResourceNeed) -> int:
    """Return what stands for the resource's name in shared memory."""
    scope = "global" if need.is_global else "device"
    digest = hashlib.blake2b(f"{scope}:{need.name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1
