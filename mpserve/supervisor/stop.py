"""The wish that the server ends, and what is not waited for once it is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from mpserve.telemetry.outlet import Outlet

Result = TypeVar("Result")

STDOUT_FD: Final = 1  # not `sys.stdout`: a pipe that broke would also spoil the exit code


class Stop:
    """Whether the server has to end: the first signal asks for an orderly end, a second to hurry.

    Attributes
    ----------
    asked
        Set once the server has to end.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._at_once = asyncio.Event()

    def on_signal(self, number: int) -> None:
        """Take a signal; 0: the wish came without one."""
        if self.asked.is_set():
            self._at_once.set()
        self.asked.set()
        if number:
            Outlet(STDOUT_FD).write(f"Signal ({number}) received.\n".encode())

    async def unless_asked(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Return what `work` returns; cancel it, and return `None`, when the server has to end."""
        task = asyncio.ensure_future(work)
        return task.result() if await _is_first(task, self.asked) else None

    async def unless_at_once(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """The same, but only a second signal counts."""
        task = asyncio.ensure_future(work)
        return task.result() if await _is_first(task, self._at_once) else None


async def _is_first(task: "asyncio.Future[Result]", event: asyncio.Event) -> bool:
    """Wait for either; true when the task has ended. The other one is cancelled."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    return not task.cancelled()
