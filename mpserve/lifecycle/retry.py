"""When a load that failed is tried again though nothing has changed: at a pause that grows.

Only where the server follows the repository: nobody can ask it for another try, and what a load
needs besides the files (memory, a library, another service) may come later.
Source: Triton tries a failed load again at each poll, for ever. A model that fails after a minute
of work would take a core that way; here the pause doubles, up to `MAX_PAUSE_NS`.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mpserve.lifecycle.actual import ModelRecord
from mpserve.lifecycle.wanted import Wish
from mpserve.model.definition import ModelDefinition
from mpserve.model.identity import ModelName

MAX_PAUSE_NS: Final = 300 * 1_000_000_000


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """A model that does not serve what is wanted.

    Attributes
    ----------
    definition
        What is wanted.
    wish
        The last wish for it that failed.
    seen_ns
        When that was first seen (monotonic clock).
    failures
        How many have failed.
    """

    definition: ModelDefinition
    wish: int
    seen_ns: int
    failures: int = 1


def follow(
    before: Mapping[ModelName, Failing],
    wishes: Mapping[ModelName, Wish],
    models: Mapping[ModelName, ModelRecord],
    *,
    now_ns: int,
) -> dict[ModelName, Failing]:
    """Return the models that fail now, or that are being tried again.

    Parameters
    ----------
    before
        What the last call returned; at first, nothing.
    """
    found: dict[ModelName, Failing] = {}
    for name, wish in wishes.items():
        known, model = before.get(name), models.get(name)
        if known is not None and known.definition != wish.definition:
            known = None
        if _is_open(wish, model):
            after = known
        else:
            after = _after_failure(known, wish, now_ns=now_ns) if has_failed(wish, model) else None
        if after is not None:
            found[name] = after
    return found


def has_failed(wish: Wish, model: ModelRecord | None) -> bool:
    """Return whether a wish was settled and what it wants does not serve.

    An ensemble that only waits for its models comes by itself.
    """
    definition = wish.definition
    if definition is None or model is None or model.misfit is not None:
        return False
    return model.definition != definition or any(
        model.serving(one.version) is None for one in definition.versions
    )


def is_due(failing: Failing, *, now_ns: int, interval_ns: int) -> bool:
    """Return whether it is time for another try; `interval_ns` is the first pause."""
    doubled_ns = interval_ns << min(failing.failures - 1, 32)
    pause_ns = max(min(doubled_ns, MAX_PAUSE_NS), interval_ns)
    return now_ns - failing.seen_ns >= pause_ns


def _is_open(wish: Wish, model: ModelRecord | None) -> bool:
    return model is None or model.operation is not None or model.settled < wish.number


def _after_failure(known: Failing | None, wish: Wish, *, now_ns: int) -> Failing:
    assert wish.definition is not None, "an unload does not fail"
    if known is None:
        return Failing(definition=wish.definition, wish=wish.number, seen_ns=now_ns)
    if known.wish == wish.number:
        return known
    return msgspec.structs.replace(
        known, wish=wish.number, seen_ns=now_ns, failures=known.failures + 1
    )
