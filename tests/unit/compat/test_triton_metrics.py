import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils

Family = pb_utils.MetricFamily


def refused(act) -> str:
    with pytest.raises(pb_utils.TritonModelException) as caught:
        act()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "act", "message"),
    [
        (Family.COUNTER, lambda one: one.increment(-1), "monotonically by non-negative values"),
        (Family.COUNTER, lambda one: one.set(1), "KIND_COUNTER does not support Set"),
        (Family.COUNTER, lambda one: one.observe(1), "KIND_COUNTER does not support Observe"),
        (Family.GAUGE, lambda one: one.observe(1), "KIND_GAUGE does not support Observe"),
        (Family.HISTOGRAM, lambda one: one.increment(1), "KIND_HISTOGRAM does not support Incr"),
        (Family.HISTOGRAM, lambda one: one.set(1), "KIND_HISTOGRAM does not support Set"),
        (Family.HISTOGRAM, lambda one: one.value(), "KIND_HISTOGRAM does not support Value"),
    ],
)
def test_what_a_kind_does_not_support(kind, act, message):
    family = Family(f"unit_{kind.value}", "text", kind)
    metric = family.Metric(buckets=[1.0] if kind is Family.HISTOGRAM else None)
    assert message in refused(lambda: act(metric))


def test_how_metrics_are_made():
    histogram = Family("unit_made", "text", Family.HISTOGRAM)
    counter = Family("unit_counted", "text", Family.COUNTER)
    assert refused(histogram.Metric) == "Failed to create metric. Missing required buckets."
    assert refused(lambda: histogram.Metric(buckets=(1,))) == (
        "Failed to create metric. Buckets must be a list."
    )
    assert "must ascend" in refused(lambda: histogram.Metric(buckets=[2, 1]))
    assert refused(lambda: counter.Metric(buckets=[1])) == (
        "Failed to create metric. Unexpected buckets found."
    )
    assert refused(lambda: counter.Metric(labels=["a"])) == (
        "Failed to create metric. Labels must be a dictionary."
    )
    assert "no name of a label" in refused(lambda: counter.Metric(labels={"a-b": "c"}))


def test_one_name_is_one_family():
    first = Family("unit_shared", "text", Family.GAUGE)
    again = Family("unit_shared", "text", Family.GAUGE)
    one, other = first.Metric({"a": "1"}), again.Metric({"a": "1"})
    one.increment(2)
    other.increment(3)
    assert one.value() == other.value() == 5
    assert "already" in refused(lambda: Family("unit_shared", "text", Family.COUNTER))


def test_the_first_description_of_a_family_holds():
    first = Family("unit_described", "first", Family.COUNTER)
    again = Family("unit_described", "second", Family.COUNTER)
    assert again.recorded.help == "first"
    metric = again.Metric()
    del first
    metric.increment(1)
    assert metric.value() == 1


@pytest.mark.parametrize("name", ["nv_mine", "9lives", "", "a b"])
def test_names_that_families_can_not_have(name):
    assert "Failed to create metric family." in refused(lambda: Family(name, "d", Family.GAUGE))


def test_a_metric_outlives_its_family_in_vain():
    family = Family("unit_gone", "text", Family.COUNTER)
    metric = family.Metric()
    metric.increment(1)
    del family
    assert "the corresponding 'MetricFamily' has been deleted" in refused(
        lambda: metric.increment(1)
    )
