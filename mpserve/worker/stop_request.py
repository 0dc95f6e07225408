"""The wish that a worker ends: one thread asks, the other works."""

import threading
from collections.abc import Callable


class StopRequest:
    """Set once, by the control thread; read by the loop.

    Attributes
    ----------
    requested
        True from the moment it was asked.
    """

    def __init__(self) -> None:
        self.requested = False
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call `callback` from the asking thread when it is asked; at once when it was already."""
        with self._lock:
            if not self.requested:
                self._callbacks.append(callback)
                return
        callback()

    def request(self) -> None:
        """Ask the worker to end. Asking again changes nothing."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self.requested = True
        for callback in callbacks:
            callback()
