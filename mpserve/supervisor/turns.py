"""One after another, by name: who wants the same takes turns, in the order in which they came.

Guarantees
    A name that nobody wants any more takes no memory: clients choose names.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec


class _Queue(msgspec.Struct, kw_only=True):
    """A lock, and how many hold it or wait for it."""

    lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """Locks by name."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    def __len__(self) -> int:
        """Return how many names are wanted by someone."""
        return len(self._queues)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Hold the turn of `name`, once all have had theirs who came before."""
        queue = self._queues.setdefault(name, _Queue())
        queue.users += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[name]
