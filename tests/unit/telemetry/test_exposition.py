"""Prometheus' text format, letter by letter."""

import pytest

from mpserve.telemetry.exposition import (
    PROMETHEUS_CPP,
    PROMETHEUS_PYTHON,
    Family,
    Kind,
    Place,
    Sample,
    exposition,
    histogram_samples,
)


def page(*samples: Sample, kind=Kind.COUNTER, form=PROMETHEUS_CPP) -> str:
    family = Family(name="n", kind=kind, help="h", samples=samples)
    return exposition([family], form).decode()


def test_a_family_has_help_and_type_before_its_samples():
    assert page(Sample(value=1)) == "# HELP n h\n# TYPE n counter\nn 1\n"


def test_a_family_without_samples_prints_nothing():
    assert page() == ""


def test_labels_are_sorted_by_name():
    labels = {"version": "1", "reason": "OTHER", "model": "m", "_team": "x"}
    line = page(Sample(value=2, labels=labels)).splitlines()[-1]
    assert line == 'n{_team="x",model="m",reason="OTHER",version="1"} 2'


def test_label_values_and_help_are_escaped():
    text = exposition(
        [Family(name="n", kind=Kind.GAUGE, help='a\n\\"', samples=(
            Sample(value=1, labels={"l": 'a\n\\"é'}),))],
        PROMETHEUS_CPP,
    ).decode()  # fmt: skip
    assert text == '# HELP n a\\n\\\\"\n# TYPE n gauge\nn{l="a\\n\\\\\\"é"} 1\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.0, "7"), (0.25, "0.25"), (2**53 + 1, "9007199254740993"), (1e300, "1e+300"),
     (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN"), (-1.5, "-1.5")],
)  # fmt: skip
def test_numbers_are_written_so_that_they_can_be_read_back(value, text):
    assert page(Sample(value=value)).splitlines()[-1] == f"n {text}"


def test_parts_of_a_summary_carry_their_suffix():
    lines = page(
        Sample(value=3, suffix="_count"), Sample(value=0.5, suffix="_sum"), kind=Kind.SUMMARY
    ).splitlines()
    assert lines[1:] == ["# TYPE n summary", "n_count 3", "n_sum 0.5"]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (PROMETHEUS_CPP, 'n{model="m",version="1",quantile="0.5"} 2'),
        (PROMETHEUS_PYTHON, 'n{model="m",quantile="0.5",version="1"} 2'),
    ],
)
def test_a_quantile_stands_where_the_peer_has_it(form, line):
    labels = {"version": "1", "model": "m"}
    sample = Sample(value=2, labels=labels, place=Place("quantile", 0.5))
    assert page(sample, form=form).splitlines()[-1] == line


@pytest.mark.parametrize(
    ("form", "bounds"), [(PROMETHEUS_CPP, ("-1", "2.5")), (PROMETHEUS_PYTHON, ("-1.0", "2.5"))]
)
def test_buckets_of_a_histogram_are_summed_up(form, bounds):
    samples = histogram_samples({}, bounds=(-1.0, 2.5), counts=(1, 2, 3), total=9.5)
    assert page(*samples, kind=Kind.HISTOGRAM, form=form).splitlines()[2:] == [
        f'n_bucket{{le="{bounds[0]}"}} 1',
        f'n_bucket{{le="{bounds[1]}"}} 3',
        'n_bucket{le="+Inf"} 6',
        "n_count 6",
        "n_sum 9.5",
    ]
