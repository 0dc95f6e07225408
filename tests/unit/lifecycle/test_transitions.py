import pytest

from mpserve.errors import InternalError
from mpserve.lifecycle.transitions import SHOWN, TRANSITIONS, Phase, Turn, next_phase


def test_a_turn_that_the_table_does_not_have_is_a_defect_that_names_both():
    with pytest.raises(InternalError, match="serving can not load"):
        next_phase(Phase.SERVING, Turn.LOAD)


def test_every_phase_is_shown_and_every_phase_but_the_first_is_reached():
    assert set(SHOWN) == set(Phase)
    assert set(TRANSITIONS.values()) == set(Phase) - {Phase.QUEUED}


def test_every_phase_but_the_last_can_end_in_draining():
    reached = {Phase.DRAINING}
    for _ in Phase:
        reached |= {phase for (phase, _), after in TRANSITIONS.items() if after in reached}
    assert reached == set(Phase)
