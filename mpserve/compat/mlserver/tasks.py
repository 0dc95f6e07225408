"""Odds of `mlserver.utils` around event loops and wrapped functions."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any


def get_wrapped_method(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that decorators with `functools.wraps` have wrapped."""
    unwrapped: Callable[..., Any] = inspect.unwrap(f)
    return unwrapped


def schedule_with_callback(
    coro: Coroutine[Any, Any, Any], cb: Callable[[asyncio.Task[Any]], object]
) -> asyncio.Task[Any]:
    """Start a coroutine on the running loop; `cb` is called with its task at the end."""
    task = asyncio.get_running_loop().create_task(coro)
    task.add_done_callback(cb)
    return task


def install_uvloop_event_loop() -> None:
    """Do nothing: the worker has chosen the loop that models run on."""
