"""`--metrics-config`: which latencies are told."""

import pytest

from mpserve.settings.metrics_config import (
    DEFAULT_QUANTILES,
    check_metrics_config,
    read_latencies,
    split_metrics_config,
)
from mpserve.settings.values import BadValue


def read(*texts):
    """Return counters, quantiles and histogram."""
    check_metrics_config(texts)
    return tuple(read_latencies(texts).values())


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ((), (True, (), False)),
        (("counter_latencies=false",), (False, (), False)),
        (("summary_latencies=true",), (True, DEFAULT_QUANTILES, False)),
        (("summary_quantiles=0.5:0.05",), (True, (), False)),
        (("summary_latencies=true", "summary_quantiles=0.25:0.1,1:0"), (True, (0.25, 1.0), False)),
        (("summary_latencies=true", "summary_latencies=false"), (True, (), False)),
        (("histogram_latencies=true",), (True, (), True)),
        (("something_new=1",), (True, (), False)),
    ],
)
def test_the_last_word_on_each_counts(texts, found):
    assert read(*texts) == found


@pytest.mark.parametrize("text", ["", "x", "=1", "summary_latencies=", "a,b=1"])
def test_the_form_is_told(text):
    with pytest.raises(BadValue, match=f"format is <setting>=<value>. Got {text}"):
        check_metrics_config((text,))


@pytest.mark.parametrize("pairs", ["0.5", "0.5:x", "1.5:0.1", "0.5:0.1,", "0.5:-1", "nan:0"])
def test_quantiles_have_two_numbers_each(pairs):
    with pytest.raises(BadValue, match="is no '<quantile>:<error>'"):
        check_metrics_config((f"summary_quantiles={pairs}",))


def test_a_choice_is_a_truth_value():
    with pytest.raises(BadValue):
        check_metrics_config(("summary_latencies=perhaps",))


def test_the_environment_keeps_quantiles_together():
    text = "summary_latencies=true,summary_quantiles=0.5:0.05,0.9:0.01,counter_latencies=false"
    assert read(*split_metrics_config(text)) == (False, (0.5, 0.9), False)
