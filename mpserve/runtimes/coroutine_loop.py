"""The event loop on which the coroutines of a decoupled Triton model run, beside the instance.

Guarantees
    A coroutine that waits holds up nobody: the next request begins meanwhile, as in Triton. All
    coroutines have ended before `close` returns. What a coroutine raises is told by `on_failure`.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any


class CoroutineLoop:
    """A thread with an event loop. Made with the first coroutine."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._under_way: set[Future[Any]] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="coroutines", daemon=True
        )
        self._thread.start()

    def start(
        self,
        coroutine: Coroutine[Any, Any, Any],
        *,
        on_result: Callable[[Any], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Run a coroutine; one of the two is called with how it ended, on the loop's thread."""

        async def run() -> None:
            try:
                result = await coroutine
            except BaseException as error:  # noqa: BLE001  # the border around the model's code
                on_failure(error)
            else:
                on_result(result)

        begun = asyncio.run_coroutine_threadsafe(run(), self._loop)
        self._under_way.add(begun)
        begun.add_done_callback(self._under_way.discard)

    def close(self) -> None:
        """Wait for all coroutines, then end the loop."""
        for one in tuple(self._under_way):
            one.exception()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
