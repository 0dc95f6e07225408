"""Which changes of the repositories may be taken: those that have been still for a while. Pure.

A model that is being copied looks different in each scan. Its change is taken when two scans, a
settle time apart, saw the same; until then the model is wanted as it was. This holds for new,
changed and vanished models alike.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from mpserve.model.identity import ModelName
from mpserve.repository.found import ScanResult

ABSENT: Final = ""
"""Token of a model that is not there."""

_Value = TypeVar("_Value")


class Sighting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Since when a model has looked like this. `since_ns` is of the monotonic clock."""

    token: str
    since_ns: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What may be wanted now.

    Attributes
    ----------
    result
        The last taken result, brought up to date for the models that are still.
    sightings
        Models that differ from what was taken; give them to the next call.
    """

    result: ScanResult
    sightings: dict[ModelName, Sighting]

    @property
    def unsettled(self) -> tuple[ModelName, ...]:
        """Models whose change has to wait, sorted."""
        return tuple(sorted(self.sightings))


def settle(
    *,
    taken: ScanResult,
    current: ScanResult,
    sightings: Mapping[ModelName, Sighting],
    now_ns: int,
    settle_ns: int,
) -> Settled:
    """Take the changes that have been still for `settle_ns`.

    Parameters
    ----------
    taken
        The result that the last call returned; at first, the one the server started with.
    current
        The newest scan.
    sightings
        Those that the last call returned; at first, none.
    now_ns
        When `current` was begun, of the monotonic clock.
    """
    still: set[ModelName] = set()
    waiting: dict[ModelName, Sighting] = {}
    for name in {*taken.names, *current.names}:
        token = current.tokens.get(name, ABSENT)
        if token == taken.tokens.get(name, ABSENT):
            still.add(name)
            continue
        sighting = sightings.get(name)
        if sighting is None or sighting.token != token:
            sighting = Sighting(token=token, since_ns=now_ns)
        if is_still(sighting, now_ns=now_ns, settle_ns=settle_ns):
            still.add(name)
        else:
            waiting[name] = sighting
    return Settled(result=_combine(taken, current, still=still), sightings=waiting)


def is_still(sighting: Sighting, *, now_ns: int, settle_ns: int) -> bool:
    """Tell whether what was seen has lasted for the settle time."""
    return now_ns - sighting.since_ns >= settle_ns


def _combine(taken: ScanResult, current: ScanResult, *, still: set[ModelName]) -> ScanResult:
    """Return `current` for the names that are still, and `taken` for all others."""
    if still.issuperset(taken.names) and still.issuperset(current.names):
        return current
    tokens = _choose(taken.tokens, current.tokens, still=still)
    return replace(
        current,
        definitions=_choose(taken.definitions, current.definitions, still=still),
        broken=_choose(taken.broken, current.broken, still=still),
        duplicates=_choose(taken.duplicates, current.duplicates, still=still),
        names=tuple(sorted(tokens)),
        tokens=tokens,
    )


def _choose(
    taken: Mapping[ModelName, _Value],
    current: Mapping[ModelName, _Value],
    *,
    still: set[ModelName],
) -> dict[ModelName, _Value]:
    chosen = {name: value for name, value in taken.items() if name not in still}
    return chosen | {name: value for name, value in current.items() if name in still}
