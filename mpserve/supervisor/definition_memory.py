"""Definitions of models in the checkpoint: each once, for all entries that have it.

Guarantees
    A definition is kept before the first entry that has it, and dropped after the last one, so that
    whatever is left can be read whenever the supervisor is killed.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from mpserve.model.definition import ModelDefinition
from mpserve.model.identity import ModelName
from mpserve.supervisor.checkpoint import Checkpoint

DEFINITION_PREFIX: Final = "definition/"

Fields = dict[str, Any]
Number = Callable[[ModelDefinition | None], int | None]


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the checkpoint, with numbers in the places of definitions.

    Attributes
    ----------
    definitions
        All numbers that `fields` has.
    """

    definitions: tuple[int, ...]
    fields: Fields


class DefinitionMemory:
    """Keeps entries that have definitions.

    Parameters
    ----------
    prefixes
        Of the keys of all such entries.
    """

    def __init__(self, checkpoint: Checkpoint, prefixes: Iterable[str]) -> None:
        self._checkpoint = checkpoint
        kept = checkpoint.read_all(DEFINITION_PREFIX, ModelDefinition)
        self._kept = {int(number): definition for number, definition in kept.items()}
        self._last = max(self._kept, default=0)
        self._of_name: dict[ModelName, set[int]] = {}
        for number, definition in self._kept.items():
            self._of_name.setdefault(definition.name, set()).add(number)
        self._of_entry: dict[str, frozenset[int]] = {
            f"{prefix}{rest}": frozenset(entry.definitions)
            for prefix in prefixes
            for rest, entry in checkpoint.read_all(prefix, Described).items()
        }
        self._entries = Counter(number for used in self._of_entry.values() for number in used)
        self._let_go(self._kept)  # the entry that it was kept for was never written

    def put(self, key: str, fields: Callable[[Number], Fields]) -> None:
        """Keep an entry, as `note` does, now."""
        self.note(key, fields)
        self._checkpoint.flush()

    def note(self, key: str, fields: Callable[[Number], Fields]) -> None:
        """Note an entry: what `fields` returns, when it is given what numbers a definition."""
        used: set[int] = set()

        def number(definition: ModelDefinition | None) -> int | None:
            if definition is None:
                return None
            used.add(found := self._number(definition))
            return found

        made = fields(number)
        self._checkpoint.note(key, Described(definitions=tuple(used), fields=made))
        before = self._of_entry.get(key, frozenset())
        self._of_entry[key] = frozenset(used)
        self._entries.update(used - before)
        self._entries.subtract(before - used)
        self._let_go(before - used)

    def read_all(self, prefix: str) -> list[Fields]:
        """Return the fields of the entries whose keys begin with `prefix`."""
        return [one.fields for one in self._checkpoint.read_all(prefix, Described).values()]

    def definition(self, number: int | None) -> ModelDefinition | None:
        """Return what a number in an entry stands for."""
        return None if number is None else self._kept[number]

    def _number(self, definition: ModelDefinition) -> int:
        of_name = self._of_name.setdefault(definition.name, set())
        for number in of_name:
            if self._kept[number] is definition or self._kept[number] == definition:
                return number
        self._last += 1
        self._kept[self._last] = definition
        of_name.add(self._last)
        self._checkpoint.put(f"{DEFINITION_PREFIX}{self._last}", definition)
        return self._last

    def _let_go(self, numbers: Iterable[int]) -> None:
        """Drop those that no entry has."""
        for number in tuple(numbers):
            if self._entries[number]:
                continue
            del self._entries[number]
            definition = self._kept.pop(number)
            of_name = self._of_name[definition.name]
            of_name.discard(number)
            if not of_name:
                del self._of_name[definition.name]
            self._checkpoint.drop(f"{DEFINITION_PREFIX}{number}")
