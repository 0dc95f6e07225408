"""What counts as left behind by a test, while other servers come and go."""

import pytest

from tests.fixtures import leftovers
from tests.fixtures.leftovers import left_segments

QUEUE = frozenset({"mps-a-queue3"})


@pytest.mark.parametrize(
    ("seen", "used", "left"),
    [
        ([QUEUE, QUEUE], frozenset(), QUEUE),
        ([QUEUE, frozenset()], frozenset(), frozenset()),  # its server has just ended
        ([QUEUE, QUEUE], QUEUE, frozenset()),
        ([frozenset()], frozenset(), frozenset()),
    ],
)
def test_only_what_stays_and_belongs_to_nobody_is_left(monkeypatch, seen, used, left):
    looks = iter(seen)
    monkeypatch.setattr(leftovers, "segments", lambda: next(looks))
    monkeypatch.setattr(leftovers, "in_use_elsewhere", lambda names: names & used)
    assert left_segments(frozenset()) == left
    assert next(looks, None) is None
