"""Further requests of a stream, as its model takes them: one is asked for when it is wanted.

Guarantees: at most one is on its way, so a model that does not ask holds its client back. Whoever
waits is woken by `look`, which the worker calls when its instance has news.
"""

import asyncio
from typing import Any

from mpserve._native import InferenceResponseSender, ask_input, take_input
from mpserve.runtimes.protocol import Request


class StreamInputs:
    """An asynchronous iterator of the requests after the first.

    Parameters
    ----------
    sender
        The response sender of the first.
    """

    def __init__(self, sender: InferenceResponseSender) -> None:
        self._sender = sender
        self._waiting: asyncio.Future[None] | None = None

    def __aiter__(self) -> "StreamInputs":
        return self

    async def __anext__(self) -> Request:
        ask_input(self._sender)
        while True:
            try:
                found: Any = take_input(self._sender)  # native; it has what the protocol asks
            except StopIteration:
                raise StopAsyncIteration from None
            if found is not None:
                request: Request = found
                return request
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def look(self) -> None:
        """Let the model look for what it waits for."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class NoInputs:
    """No request comes after the first."""

    def __aiter__(self) -> "NoInputs":
        return self

    async def __anext__(self) -> Request:
        raise StopAsyncIteration

    def look(self) -> None:
        """Nobody waits."""
