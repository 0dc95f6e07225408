"""Wanted and actual in the checkpoint: kept at each change, read by the next supervisor.

Guarantees: what was observed is noted, and what was noted is kept before it is carried out
(`Checkpoint.flush`), so that whatever an earlier supervisor may have begun is known.
"""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from mpserve.lifecycle.actions import Action, PublishTable
from mpserve.lifecycle.actual import Actual, GenerationRecord, ModelRecord
from mpserve.lifecycle.events import Event, GenerationsHeld, TableAcknowledged
from mpserve.lifecycle.journal import model_of
from mpserve.lifecycle.operation_record import Check, Operation
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.identity import Generation
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.definition_memory import DefinitionMemory, Fields, Number

MODEL_PREFIX: Final = "model/"
WISH_PREFIX: Final = "wish/"
WITH_DEFINITIONS: Final = (MODEL_PREFIX, WISH_PREFIX)
NUMBERS: Final = "numbers"

Defined = TypeVar("Defined", Wish, Operation, GenerationRecord, ModelRecord)

_OF_NO_MODEL: Final = (PublishTable, TableAcknowledged, GenerationsHeld)


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What of `Actual` belongs to no model."""

    table_number: int = 0
    acknowledged: int = 0
    last_generation: int = 0
    held: frozenset[Generation] = frozenset()


class LifecycleMemory:
    """Keeps what the lifecycle knows."""

    def __init__(self, checkpoint: Checkpoint, definitions: DefinitionMemory) -> None:
        self._checkpoint = checkpoint
        self._definitions = definitions

    def wanted(self, actual: Actual) -> Wanted:
        """Return what was wanted beside what was."""
        wishes = {wish.name: wish for wish in self._wishes()}
        still_open = (one for one in wishes.values() if not _is_settled(one, actual))
        return Wanted(wishes=wishes, open=frozenset(wish.name for wish in still_open))

    def last_wish(self) -> int:
        """Return the highest number of a wish."""
        return max((wish.number for wish in self._wishes()), default=0)

    def _wishes(self) -> Iterable[Wish]:
        return (self._read(one, Wish) for one in self._definitions.read_all(WISH_PREFIX))

    def actual(self) -> Actual:
        """Return what was. All rows of the routing table count as changed: it is sent anew."""
        numbers = self._checkpoint.read(NUMBERS, Numbers) or Numbers()
        actual = Actual()
        for fields in self._definitions.read_all(MODEL_PREFIX):
            actual = actual.with_model(_to_be_checked(self._read_model(fields)))
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
        self._definitions.note(f"{WISH_PREFIX}{wish.name}", lambda number: _numbered(wish, number))

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
            model = after.models[name]
            self._definitions.note(
                f"{MODEL_PREFIX}{name}", lambda number: _numbered_model(model, number)
            )

    def _read(self, fields: Fields, kind: type[Defined]) -> Defined:
        return msgspec.convert(
            {**fields, "definition": self._definitions.definition(fields["definition"])}, kind
        )

    def _read_model(self, fields: Fields) -> ModelRecord:
        generations = [self._read(one, GenerationRecord) for one in fields["generations"]]
        going = fields["operation"]
        operation = None if going is None else self._read(going, Operation)
        return self._read(
            {**fields, "generations": generations, "operation": operation}, ModelRecord
        )


def _numbered(record: Wish | Operation | GenerationRecord | ModelRecord, number: Number) -> Fields:
    return {**msgspec.structs.asdict(record), "definition": number(record.definition)}


def _numbered_model(model: ModelRecord, number: Number) -> Fields:
    going = model.operation
    return {
        **_numbered(model, number),
        "generations": [_numbered(one, number) for one in model.generations],
        "operation": None if going is None else _numbered(going, number),
    }


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
