"""A load that what a model's configuration asks for rules out, before anything is started."""

from mpserve.errors import Failure, LoadError
from mpserve.model.identity import Version


class Refusal(Failure, frozen=True, kw_only=True):
    """Which versions would have been loaded, and what is wrong with each of them.

    Attributes
    ----------
    message
        What follows `load failed for model '<name>': `.
    """

    versions: tuple[Version, ...]
    reason: Failure


class VersionsRefused(LoadError):
    """Raised with a `Refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal

    def failure(self) -> Refusal:
        """Return what is refused, and why."""
        return self.refusal
