"""Wanted and actual in the checkpoint: kept at each change, read by the next supervisor.

Guarantees: what was observed is noted, and what was noted is kept before it is carried out
(`Checkpoint.flush`), so that whatever an earlier supervisor may have begun is known.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from mpserve.lifecycle.actions import Action, PublishTable
from mpserve.lifecycle.actual import Actual, ModelRecord
from mpserve.lifecycle.events import Event, GenerationsHeld, TableAcknowledged
from mpserve.lifecycle.journal import model_of
from mpserve.lifecycle.operation_record import Check
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.identity import Generation
from mpserve.supervisor.checkpoint import Checkpoint

MODEL_PREFIX: Final = "model/"
WISH_PREFIX: Final = "wish/"
NUMBERS: Final = "numbers"

_OF_NO_MODEL: Final = (PublishTable, TableAcknowledged, GenerationsHeld)


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What of `Actual` belongs to no model."""

    table_number: int = 0
    acknowledged: int = 0
    last_generation: int = 0
    held: frozenset[Generation] = frozenset()


class LifecycleMemory:
    """Keeps what the lifecycle knows."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def wanted(self, actual: Actual) -> Wanted:
        """Return what was wanted beside what was."""
        wishes = {wish.name: wish for wish in self._wishes()}
        still_open = (one for one in wishes.values() if not _is_settled(one, actual))
        return Wanted(wishes=wishes, open=frozenset(wish.name for wish in still_open))

    def last_wish(self) -> int:
        """Return the highest number of a wish."""
        return max((wish.number for wish in self._wishes()), default=0)

    def _wishes(self) -> Iterable[Wish]:
        return self._checkpoint.read_all(WISH_PREFIX, Wish).values()

    def actual(self) -> Actual:
        """Return what was. All rows of the routing table count as changed: it is sent anew."""
        numbers = self._checkpoint.read(NUMBERS, Numbers) or Numbers()
        actual = Actual()
        models = self._checkpoint.read_all(MODEL_PREFIX, ModelRecord).values()
        for model in models:
            actual = actual.with_model(_to_be_checked(model))
        return msgspec.structs.replace(
            actual,
            table_number=numbers.table_number,
            acknowledged=numbers.acknowledged,
            last_generation=numbers.last_generation,
            held=numbers.held,
            changed=frozenset(actual.models),
        )

    def wished(self, wish: Wish) -> None:
        """Note a wish."""
        self._checkpoint.note(f"{WISH_PREFIX}{wish.name}", wish)

    def observed(self, before: Actual, after: Actual, happened: Event | Action) -> None:
        """Note what an event or action has changed."""
        name = None if isinstance(happened, _OF_NO_MODEL) else model_of(happened)
        if name is None or after.last_generation != before.last_generation:
            self._checkpoint.note(
                NUMBERS,
                Numbers(
                    table_number=after.table_number,
                    acknowledged=after.acknowledged,
                    last_generation=after.last_generation,
                    held=after.held,
                ),
            )
        if name is not None and after.models.get(name) is not before.models.get(name):
            self._checkpoint.note(f"{MODEL_PREFIX}{name}", after.models[name])


def _is_settled(wish: Wish, actual: Actual) -> bool:
    model = actual.models.get(wish.name)
    return model is not None and model.operation is None and wish.number <= model.settled


def _to_be_checked(model: ModelRecord) -> ModelRecord:
    """Return the model with the look at its folder due again that nobody is taking any more."""
    operation = model.operation
    if operation is None or operation.check is not Check.RUNNING:
        return model
    due = msgspec.structs.replace(operation, check=Check.DUE)
    return msgspec.structs.replace(model, operation=due)
