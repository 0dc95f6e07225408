"""A question to the workers whose models count: what they have counted by now.

Guarantees
    What a model has counted before it answered a request is known when a question is over that was
    asked after the answer, unless its worker can not answer within `PATIENCE_SECONDS`: native code
    of its model lets no other thread run, or it hangs. Such a one is asked again when it has
    answered, so that it costs one look, and not each, that time.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mpserve.control.message import Message
from mpserve.control.messages import TellMetrics
from mpserve.model.identity import InstanceKey

PATIENCE_SECONDS: Final = 0.25


class MetricsQuestion:
    """Asks workers, and hears who has answered. Lives on the supervisor's loop."""

    def __init__(self) -> None:
        self._number = 0
        self._answered: dict[InstanceKey, int] = {}  # of each that counts: its last answer
        self._late: set[InstanceKey] = set()
        self._news = asyncio.Event()

    def heard(self, key: InstanceKey, question: int) -> None:
        """Note that a worker told what it has counted; `question` is 0 when it was not asked."""
        self._answered[key] = max(question, self._answered.get(key, 0))
        if question:
            self._late.discard(key)
            self._news.set()

    def gone(self, key: InstanceKey) -> None:
        """Wait for a worker no more: it has ended."""
        self._answered.pop(key, None)
        self._late.discard(key)
        self._news.set()

    async def ask(self, send: Callable[[InstanceKey, Message], None]) -> None:
        """Ask every worker that counts; return when they have answered, or are late."""
        await asyncio.sleep(0)  # what has arrived is read: who counts now for the first time
        self._number += 1
        number = self._number
        asked = self._answered.keys() - self._late
        for key in asked:
            send(key, TellMetrics(question=number))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while any(self._is_open(key, number) for key in asked):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._late.update(key for key in asked if self._is_open(key, number))

    def _is_open(self, key: InstanceKey, number: int) -> bool:
        return self._answered.get(key, number) < number
