"""Quantiles of latencies out of the core's buckets, and what of them is recent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpserve.dialect import DialectName
from mpserve.model.config import ModelConfig
from mpserve.settings import Settings
from mpserve.telemetry.latencies import (
    FIRST_RESPONSE_BOUNDS_MS,
    FirstResponses,
    Latencies,
    LatencyCounts,
    LatencyRule,
    LatencyWindow,
    latency_rule,
    middle_us,
)

SECOND = 1_000_000_000
STREAMS = ModelConfig(decoupled=True)


def bucket_of(us):
    """Say the core's rule in other words: 32 steps to each power of two, single numbers below."""
    if us < 32:
        return us
    power = us.bit_length() - 1
    return 32 * (power - 4) + (us - 2**power) * 32 // 2**power


def counted(*latencies_us):
    buckets = {}
    for us in latencies_us:
        buckets[bucket_of(us)] = buckets.get(bucket_of(us), 0) + 1
    return LatencyCounts(sum_us=sum(latencies_us), buckets=buckets)


@given(st.integers(0, 2**34))
def test_the_middle_of_a_bucket_is_near_what_is_in_it(us):
    assert abs(middle_us(bucket_of(us)) - us) <= us * 0.016


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.76, 1000), (0.999, 1000), (1.0, 1000)]
)
def test_a_quantile_is_what_that_share_does_not_exceed(share, value):
    assert counted(1, 2, 3, 1000).quantile(share) == pytest.approx(value, rel=0.016)


def test_of_nothing_there_is_no_quantile():
    assert math.isnan(LatencyCounts().quantile(0.5))


def test_counts_add_up_and_are_taken_apart():
    both = counted(1, 5) + counted(5)
    assert (both.count, both.sum_us) == (3, 11)
    assert both.since(counted(1, 5)) == counted(5)


# --- the window -----------------------------------------------------------------------------------


def looks(*moments):
    """Look at (second, latencies so far) each; return the counts that were recent at the last."""
    window = LatencyWindow()
    found = ()
    for second, latencies in moments:
        found = window.recent("m", (counted(*latencies),), now_ns=second * SECOND)
    return found[0].count


def test_until_there_is_an_old_look_everything_is_recent():
    assert looks((0, [1, 2])) == 2
    assert looks((0, [1, 2]), (30, [1, 2, 3])) == 3


def test_what_is_older_than_a_minute_is_not_recent():
    assert looks((0, [1]), (20, [1, 2]), (40, [1, 2, 3]), (60, [1, 2, 3, 4])) == 3
    assert looks((0, [1]), (20, [1, 2]), (40, [1, 2, 3]), (85, [1, 2, 3, 4])) == 2


def test_who_looks_seldom_sees_what_came_since():
    assert looks((0, [1]), (600, [1, 2]), (1200, [1, 2, 3])) == 1


def test_looks_that_follow_at_once_keep_no_more():
    window = LatencyWindow()
    for step in range(1000):
        window.recent("m", (counted(1),), now_ns=step * SECOND // 10)
    assert len(window._seen["m"]) <= 10


def test_a_model_that_was_loaded_again_begins_anew():
    assert looks((0, [1, 2, 3]), (70, [1, 2, 3]), (80, [1])) == 1


def test_the_window_forgets_what_is_gone():
    window = LatencyWindow()
    for name in ("gone", "kept"):
        window.recent(name, (counted(1),), now_ns=0)
    window.keep(["kept"])
    found = {
        name: window.recent(name, (counted(1, 2),), now_ns=70 * SECOND)[0].count
        for name in ("gone", "kept")
    }
    assert found == {"gone": 2, "kept": 1}


# --- together -------------------------------------------------------------------------------------


def test_the_cores_words_are_named():
    told = ([(7, {2: 1, 5: 1})] * 5, ([1.0, 2.5], 9, [1, 0, 2]))
    found = Latencies.from_core(told)
    assert len(found.summaries) == 5
    assert found.summaries[0].count == 2
    assert found.first_responses == FirstResponses(bounds_ms=(1.0, 2.5), sum_ms=9, counts=(1, 0, 2))
    assert Latencies.from_core(None) == Latencies()
    assert Latencies.from_core((None, None)) == Latencies()


def test_generations_add_up_unless_the_buckets_were_changed():
    one = Latencies.from_core(([(7, {2: 1})] * 5, ([1.0], 9, [1, 2])))
    both = one + one
    assert both.summaries[4].sum_us == 14
    assert both.first_responses == FirstResponses(bounds_ms=(1.0,), sum_ms=18, counts=(2, 4))
    assert one + Latencies() == Latencies() + one == one
    other = Latencies.from_core((None, ([2.0], 1, [1, 0])))
    assert (one + other).first_responses == other.first_responses


@pytest.mark.parametrize(
    ("settings", "config", "rule"),
    [
        ({}, STREAMS, LatencyRule()),
        ({"metrics_summary_quantiles": (0.5,)}, STREAMS, LatencyRule(summaries=True)),
        (
            {"metrics_histogram_latencies": True},
            STREAMS,
            LatencyRule(first_bounds_ms=FIRST_RESPONSE_BOUNDS_MS),
        ),
        (
            {"metrics_histogram_latencies": True},
            ModelConfig(decoupled=True, first_response_bounds_ms=(1.0,)),
            LatencyRule(first_bounds_ms=(1.0,)),
        ),
        ({"metrics_histogram_latencies": True}, ModelConfig(), LatencyRule()),
        (
            {"metrics_summary_quantiles": (0.5,), "allow_metrics": False},
            STREAMS,
            LatencyRule(),
        ),
        (
            {"metrics_summary_quantiles": (0.5,), "dialect": DialectName.MLSERVER},
            STREAMS,
            LatencyRule(),
        ),
    ],
)
def test_only_what_is_told_is_kept(settings, config, rule):
    assert latency_rule(config, Settings(**settings)) == rule
