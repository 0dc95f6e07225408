"""The judge of long runs: what grows is seen through the noise, what wavers is let off."""

import numpy as np
import pytest

from tests.fixtures.trend import trend

LOOKS = 480
AT = np.arange(LOOKS, dtype=float)
MEAN = 1e8


def wavering(seed: int) -> np.ndarray:
    """A figure that goes up and down, each look near the one before."""
    dice = np.random.default_rng(seed)
    values = np.empty(LOOKS)
    level = 0.0
    for place in range(LOOKS):
        level = 0.9 * level + dice.normal(0, 4e4)
        values[place] = MEAN + level
    return values


def test_what_wavers_does_not_grow():
    judged = [trend(AT, wavering(seed)).grows(more_than=0.0) for seed in range(200)]
    assert sum(judged) <= 10  # 1 in 100 on this side, a few more because looks hang together


@pytest.mark.parametrize("leak", [0.005, 0.02])
def test_what_grows_through_the_noise_is_seen(leak):
    judged = [
        trend(AT, wavering(seed) + MEAN * leak * AT / LOOKS).grows(more_than=0.001)
        for seed in range(50)
    ]
    assert sum(judged) >= 48


def test_what_stays_is_flat_and_what_only_shrinks_is_no_growth():
    for same in (42.0, 0.1, 123_456_789.0 / 7):
        assert trend(AT, np.full(LOOKS, same)) == (0.0, 0.0)
    assert not trend(AT, MEAN - AT).grows(more_than=0.0)
    assert trend(AT, MEAN + AT).grows(more_than=0.0)
    assert not trend(AT, MEAN + AT).grows(more_than=0.001)
