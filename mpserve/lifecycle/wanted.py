"""What should be served: one wish for each model, made by a scan or by a load or unload call."""

from typing import Self

import msgspec

from mpserve.model.definition import ModelDefinition
from mpserve.model.event import Origin
from mpserve.model.identity import ModelName


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What someone wants of one model.

    Attributes
    ----------
    number
        Grows over the whole server. A wish is settled once, with success or a failure; making the
        same wish again under a new number asks for another try.
    definition
        Model to serve; `None` to unload it.
    origin
        Who made it; for those who read the events.
    is_pulled
        The model was never asked for by itself, only as one of an ensemble.
    """

    number: int
    name: ModelName
    definition: ModelDefinition | None
    origin: Origin = Origin.CLIENT
    is_pulled: bool = False


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The latest wish for each model.

    Attributes
    ----------
    open
        Models whose wish may not be settled yet; of all others it is.
    stopping
        The server ends: loads are given up, nothing is restarted, everything is unloaded.
    """

    wishes: dict[ModelName, Wish] = {}
    open: frozenset[ModelName] = frozenset()
    stopping: bool = False

    def with_wish(self, wish: Wish) -> Self:
        """Return the same with `wish` in place of an earlier one for its model."""
        return msgspec.structs.replace(
            self, wishes={**self.wishes, wish.name: wish}, open=self.open | {wish.name}
        )

    def settled(self, name: ModelName, number: int) -> Self:
        """Return the same after the wishes for a model up to this number were settled."""
        wish = self.wishes.get(name)
        if wish is None or wish.number > number:
            return self
        return msgspec.structs.replace(self, open=self.open - {name})

    def ended(self) -> Self:
        """Return the same for a server that ends."""
        return msgspec.structs.replace(self, stopping=True)
