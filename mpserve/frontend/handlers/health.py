"""Liveness and readiness, as the supervisor last told them."""

from mpserve.control.messages import PublishTable


class Health:
    """Whether the server lives and is ready. Neither, until the first table has come."""

    def __init__(self) -> None:
        self.is_live = False
        self.is_ready = False

    def apply(self, table: PublishTable) -> None:
        """Take what the supervisor says."""
        self.is_live = table.server_live
        self.is_ready = table.server_ready

    def stop(self) -> None:
        """Be ready no more: the frontend ends."""
        self.is_ready = False
