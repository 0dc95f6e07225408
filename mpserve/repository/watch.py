"""When to scan again: as soon as the system reports a change, and at each poll interval anyway.

The periodic scan is what is relied on: network file systems report nothing, and links are not
followed by the watcher. So a watcher that can not be started only makes changes be seen later.
"""

import asyncio
import enum
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final

from mpserve.repository.layout import IGNORED_DIRECTORIES, is_ignored_file

DEBOUNCE_MS: Final = 200  # a save is several events within some milliseconds


class Wake(enum.Enum):
    """Why a scan is due."""

    CHANGE = "change"
    INTERVAL = "interval"


async def wakes(
    roots: Sequence[str], *, interval_s: float, stop: asyncio.Event
) -> AsyncIterator[Wake]:
    """Yield whenever the repositories should be scanned, until `stop` is set.

    Parameters
    ----------
    roots
        Absolute paths. Those that are not there (any more) are seen by interval only, until they
        are there again.
    interval_s
        Longest time between two wakes, in seconds; above 0.
    stop
        Ends the iteration; also set when the iteration is cancelled.
    """
    due = time.monotonic() + interval_s
    while not stop.is_set():
        present = _present(roots)
        async for paths in _reports(present, interval_s=interval_s, stop=stop):
            wake = _reason(paths, is_due=time.monotonic() >= due)
            if wake is not None:
                due = time.monotonic() + interval_s
                yield wake
            if present != _present(roots):
                break


def concerns_models(path: str) -> bool:
    """Tell whether a change of this path may change a model."""
    *folders, name = path.split("/")
    return not is_ignored_file(name) and IGNORED_DIRECTORIES.isdisjoint((*folders, name))


def _reason(paths: Iterable[str], *, is_due: bool) -> Wake | None:
    if any(concerns_models(path) for path in paths):
        return Wake.CHANGE
    return Wake.INTERVAL if is_due else None


def _present(roots: Sequence[str]) -> list[str]:
    return [root for root in roots if Path(root).is_dir()]


async def _reports(
    roots: Sequence[str], *, interval_s: float, stop: asyncio.Event
) -> AsyncIterator[tuple[str, ...]]:
    """Yield what changed, and nothing after each interval without a change."""
    import watchfiles  # noqa: PLC0415  # 20 ms that only polling pays

    if not roots:
        await _pause(interval_s, stop)
        yield ()
        return
    watcher = watchfiles.awatch(
        *roots,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        stop_event=stop,
        rust_timeout=max(1, round(interval_s * 1000)),
        yield_on_timeout=True,
    )
    try:
        async for changes in watcher:
            yield tuple(path for _, path in changes)
    except (OSError, RuntimeError):
        # no watch (a root vanished, the system's limit): the interval alone is left
        await _pause(interval_s, stop)
        yield ()


async def _pause(interval_s: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(interval_s):
            await stop.wait()
    except TimeoutError:
        return
