"""Liveness and readiness, as the supervisor last told them."""

from collections.abc import Callable

from mpserve.control.messages import PublishTable


class Health:
    """Whether the server lives and is ready. Neither, until the first table has come."""

    def __init__(self) -> None:
        self.is_live = False
        self.is_ready = False
        self._watchers: set[Callable[[], None]] = set()

    def apply(self, table: PublishTable) -> None:
        """Take what the supervisor says."""
        self._set(is_live=table.server_live, is_ready=table.server_ready)

    def stop(self) -> None:
        """Be ready no more: the frontend ends."""
        self._set(is_live=self.is_live, is_ready=False)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` at each change, until `unwatch`."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.discard(watcher)

    def _set(self, *, is_live: bool, is_ready: bool) -> None:
        if (is_live, is_ready) != (self.is_live, self.is_ready):
            self.is_live, self.is_ready = is_live, is_ready
            for watcher in list(self._watchers):
                watcher()
