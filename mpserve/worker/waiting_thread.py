"""A thread that runs before there is work for it.

To start one takes a hundred microseconds and more, and its first pages; who forks ahead of need
pays that then.
"""

import threading
from collections.abc import Callable


class WaitingThread:
    """Does one thing, when it is told what; a daemon."""

    def __init__(self, name: str) -> None:
        self._is_told = threading.Lock()
        self._is_told.acquire()
        self._work: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Run from now on."""
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Let the thread do this; to be told once."""
        self._work = work
        self._is_told.release()

    def _run(self) -> None:
        self._is_told.acquire()
        assert self._work is not None
        self._work()
