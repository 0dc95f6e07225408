"""Phases of a generation: the table of how they follow each other, and how the wire sees them."""

import enum
from typing import Final

from mpserve.errors import InternalError
from mpserve.model.state import ModelState


class Phase(enum.Enum):
    """Where a generation of a model version is in its life."""

    QUEUED = "queued"
    """Waits for its turn to load: only so many versions load at once."""
    LOADING = "loading"
    LOADED = "loaded"
    """All its instances are ready; waits for the other versions of the same load."""
    FAILED = "failed"
    """It did not load; waits until the others of the same load are known."""
    SERVING = "serving"
    """Named by the routing table."""
    WITHDRAWN = "withdrawn"
    """No longer named by the latest table; some frontend may still route by the one before."""
    LINGERING = "lingering"
    """All frontends know what replaces it; it takes requests of the sequences that it holds."""
    DRAINING = "draining"
    """No request can arrive any more; its workers finish and end."""


class Turn(enum.Enum):
    """What makes a generation leave its phase."""

    ADMIT = "admit"
    LOAD = "load"
    FAIL = "fail"
    COMMIT = "commit"
    WITHDRAW = "withdraw"
    LINGER = "linger"
    RETIRE = "retire"


TRANSITIONS: Final = {
    (Phase.QUEUED, Turn.ADMIT): Phase.LOADING,
    (Phase.QUEUED, Turn.WITHDRAW): Phase.WITHDRAWN,
    (Phase.LOADING, Turn.LOAD): Phase.LOADED,
    (Phase.LOADING, Turn.FAIL): Phase.FAILED,
    (Phase.LOADING, Turn.WITHDRAW): Phase.WITHDRAWN,
    (Phase.LOADED, Turn.COMMIT): Phase.SERVING,
    (Phase.LOADED, Turn.FAIL): Phase.FAILED,
    (Phase.LOADED, Turn.WITHDRAW): Phase.WITHDRAWN,
    (Phase.FAILED, Turn.WITHDRAW): Phase.WITHDRAWN,
    (Phase.SERVING, Turn.WITHDRAW): Phase.WITHDRAWN,
    (Phase.WITHDRAWN, Turn.LINGER): Phase.LINGERING,
    (Phase.WITHDRAWN, Turn.RETIRE): Phase.DRAINING,
    (Phase.LINGERING, Turn.WITHDRAW): Phase.WITHDRAWN,
    (Phase.LINGERING, Turn.RETIRE): Phase.DRAINING,
}

SHOWN: Final = {
    Phase.SERVING: ModelState.READY,
    Phase.QUEUED: ModelState.LOADING,
    Phase.LOADING: ModelState.LOADING,
    Phase.LOADED: ModelState.LOADING,
    Phase.FAILED: ModelState.LOADING,
    Phase.WITHDRAWN: ModelState.UNLOADING,
    Phase.LINGERING: ModelState.UNLOADING,
    Phase.DRAINING: ModelState.UNLOADING,
}
"""State of a version that has a generation in this phase; an earlier row wins over a later one, so
a version that serves is READY while its next generation loads, and one that drains is not seen."""

SHOWN_ORDER: Final = {phase: order for order, phase in enumerate(SHOWN)}


def next_phase(phase: Phase, turn: Turn) -> Phase:
    """Return the phase after `turn`.

    Raises
    ------
    InternalError
        The table has no such row: a defect of the plan.
    """
    try:
        return TRANSITIONS[phase, turn]
    except KeyError:
        raise InternalError(f"a generation that is {phase.value} can not {turn.value}") from None
