"""`model_metrics`: the buckets of the histogram of first responses."""

import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import (
    HistogramOptions,
    MetricControl,
    MetricIdentifier,
    ModelMetrics,
    TritonConfig,
)
from mpserve.model.triton.metric_control import (
    FIRST_RESPONSE_FAMILY,
    check_metric_control,
    first_response_bounds,
)


def config(*buckets, family=FIRST_RESPONSE_FAMILY):
    control = MetricControl(
        metric_identifier=MetricIdentifier(family=family),
        histogram_options=HistogramOptions(buckets=buckets),
    )
    return TritonConfig(name="m", model_metrics=ModelMetrics(metric_control=(control,)))


@pytest.mark.parametrize(
    ("found", "bounds"),
    [
        (config(-1.0, 0.0, 1.0, 2.5), (-1.0, 0.0, 1.0, 2.5)),
        (config(1.0, family="nv_other"), ()),
        (TritonConfig(name="m"), ()),
        (TritonConfig(name="m", model_metrics=ModelMetrics(metric_control=(MetricControl(),))), ()),
    ],
)
def test_buckets_are_those_of_the_family(found, bounds):
    check_metric_control(found)
    assert first_response_bounds(found) == bounds


@pytest.mark.parametrize("buckets", [(2.0, 1.0), (1.0, 1.0), (1.0, float("inf"))])
def test_buckets_ascend(buckets):
    with pytest.raises(InvalidRequest, match="for m has buckets .* numbers that ascend"):
        check_metric_control(config(*buckets))


def test_there_may_be_so_many():
    check_metric_control(config(*map(float, range(64))))
    with pytest.raises(InvalidRequest, match="has 65 buckets; 64 are possible"):
        check_metric_control(config(*map(float, range(65))))
