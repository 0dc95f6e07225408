"""Executions that take longer than their model may take: found by looking at the queues.

Guarantees: a request that an instance has held for `max_execution_seconds` is noticed within a
tenth of that, at least every second. Costs nothing for models without a limit. A worker that is
stopped or hangs is found as well as one that computes: only the time counts.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.model.identity import InstanceKey
from mpserve.shm.model_queue import ModelQueue

MAX_LOOK_SECONDS: Final = 1.0
LOOKS: Final = 10  # in the time that is allowed
_SECOND_NS: Final = 1_000_000_000


class _Watched(msgspec.Struct, frozen=True, kw_only=True):
    queue: ModelQueue
    epoch: int
    limit_seconds: float


class ExecutionWatch:
    """Looks at the instances of models that have a limit.

    Parameters
    ----------
    overdue
        Takes the instance that is to be ended, and its limit in seconds. It is watched no longer.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        call_later: Callable[[float, Callable[[], None]], object],
        overdue: Callable[[InstanceKey, float], None],
    ) -> None:
        self._now_ns = now_ns
        self._call_later = call_later
        self._overdue = overdue
        self._watched: dict[InstanceKey, _Watched] = {}
        self._is_looking = False

    def add(self, key: InstanceKey, queue: ModelQueue, *, epoch: int, limit_seconds: float) -> None:
        """Watch an instance; 0 for no limit."""
        if limit_seconds > 0:
            self._watched[key] = _Watched(queue=queue, epoch=epoch, limit_seconds=limit_seconds)
            self._look_later()

    def remove(self, key: InstanceKey) -> None:
        """Watch an instance no longer."""
        self._watched.pop(key, None)

    def _look_later(self) -> None:
        if self._watched and not self._is_looking:
            self._is_looking = True
            shortest = min(one.limit_seconds for one in self._watched.values())
            self._call_later(min(shortest / LOOKS, MAX_LOOK_SECONDS), self._look)

    def _look(self) -> None:
        self._is_looking = False
        now_ns = self._now_ns()
        for key, one in tuple(self._watched.items()):
            since_ns = one.queue.running_since_ns(key.index, one.epoch)
            if since_ns and now_ns - since_ns >= one.limit_seconds * _SECOND_NS:
                self.remove(key)
                self._overdue(key, one.limit_seconds)
        self._look_later()
