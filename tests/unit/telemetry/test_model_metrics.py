import msgspec
import pytest

from mpserve.telemetry.exposition import PROMETHEUS_PYTHON, Kind, exposition
from mpserve.telemetry.model_metrics import (
    MetricFamily,
    MetricSeries,
    MetricsRecorder,
    exposed,
    lasting,
    merged,
)

BOUNDS = (0.5, 1.0)


@pytest.fixture
def recorder():
    return MetricsRecorder()


def family(kind, *series, name="m", bounds=()):
    return MetricFamily(name=name, kind=kind, help="h", bounds=bounds, series=series)


def one(value, counts=(), **labels):
    return MetricSeries(labels=tuple(sorted(labels.items())), value=value, counts=counts)


def test_observations_are_counted_by_bucket_and_labels(recorder):
    histogram = recorder.histogram("h", "Help", BOUNDS)
    for value in (0.5, 0.75, 3.0):  # a bound belongs to its bucket
        histogram.observe({"b": "2", "a": "1"}, value)
    histogram.observe({"a": "other"}, 0.1)
    (told,) = recorder.told()
    assert told.series == (one(4.25, (1, 1, 1), a="1", b="2"), one(0.1, (1, 0, 0), a="other"))


def test_a_histogram_is_made_once(recorder):
    assert recorder.histogram("h", "Help", BOUNDS) is recorder.histogram("h", "Other", ())


def test_each_change_is_told(recorder):
    changes = []
    recorder.on_change = lambda: changes.append(1)
    recorder.histogram("h", "", BOUNDS).observe({}, 1)
    assert changes == [1]


def test_a_histogram_is_exposed_as_prometheus_reads_it(recorder):
    histogram = recorder.histogram("seconds", "Time", BOUNDS)
    for value in (0.25, 0.75, 0.75, 9):
        histogram.observe({"model_name": "m"}, value)
    assert exposition(exposed(recorder.told()), PROMETHEUS_PYTHON).decode() == (
        "# HELP seconds Time\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{le="0.5",model_name="m"} 1\n'
        'seconds_bucket{le="1.0",model_name="m"} 3\n'
        'seconds_bucket{le="+Inf",model_name="m"} 4\n'
        'seconds_count{model_name="m"} 4\n'
        'seconds_sum{model_name="m"} 10.75\n'
    )


def test_histograms_and_counters_add_up_over_workers_and_gauges_do_not():
    told = [
        family(Kind.HISTOGRAM, one(1.0, (1, 2), a="x"), bounds=(1.0,)),
        family(Kind.HISTOGRAM, one(2.0, (3, 0), a="x"), one(1.0, (1, 0), a="y"), bounds=(1.0,)),
        family(Kind.COUNTER, one(1.0), name="c"),
        family(Kind.COUNTER, one(2.0), name="c"),
        family(Kind.GAUGE, one(1.0), name="g"),
        family(Kind.GAUGE, one(2.0), name="g"),
    ]
    histogram, counter, gauge = merged(told)
    assert histogram.series == (one(3.0, (4, 2), a="x"), one(1.0, (1, 0), a="y"))
    assert (counter.series, gauge.series) == ((one(3.0),), (one(2.0),))


def test_a_name_that_means_something_else_elsewhere_keeps_its_first_meaning():
    first = family(Kind.COUNTER, one(1.0))
    assert merged([first, family(Kind.GAUGE, one(5.0))]) == (first,)


def test_of_a_process_that_has_ended_all_but_gauges_stays():
    counter, gauge = family(Kind.COUNTER, one(1.0)), family(Kind.GAUGE, one(1.0), name="g")
    assert lasting([counter, gauge]) == (counter,)


def test_a_family_travels_as_a_message():
    given = family(Kind.HISTOGRAM, one(1.0, (1, 2), a="x"), bounds=(1.0,))
    text = msgspec.msgpack.encode(given)
    assert msgspec.msgpack.decode(text, type=MetricFamily) == given
