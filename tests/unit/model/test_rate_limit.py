"""Limits of resources, and models that could never be executed."""

import re

import pytest

from mpserve.errors import InvalidRequest
from mpserve.model.config import InstanceGroup, ResourceNeed
from mpserve.model.rate_limit import RateLimits, check_resources, read_limits


def group(*needs: ResourceNeed) -> InstanceGroup:
    return InstanceGroup(name="g", resources=needs)


def need(name: str, count: int, *, is_global: bool = False) -> ResourceNeed:
    return ResourceNeed(name=name, count=count, is_global=is_global)


def test_limits_are_of_all_devices_or_of_the_cpu():
    limits = read_limits(["a:3", "a:5:0", "a:9:1", "b:4"])
    assert limits == RateLimits(shared={"a": 3, "b": 4}, of_device={"a": 5})
    assert limits.limit(need("a", 1)) == 5
    assert limits.limit(need("a", 1, is_global=True)) == 3
    assert limits.limit(need("b", 1)) == 4
    assert limits.limit(need("c", 1)) == 0


def test_what_is_not_limited_can_be_asked_for():
    check_resources([group(need("a", 1000))], RateLimits(shared={"b": 1}), model_name="m")


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        pytest.param(
            [need("r", 10), need("s", 32), need("s", 40)],
            'Resource count for "s" is limited to 10 which will prevent scheduling of one or more '
            "model instances, the minimum required count is 40",
            id="more than there is",
        ),
        pytest.param(
            [need("r", 1), need("r", 1, is_global=True)],
            'Resource "r" is present as both global and device-specific resource in the model '
            "configuration.",
            id="both",
        ),
        pytest.param(
            [need(str(number), 1) for number in range(9)],
            "instance group g of model m needs 9 resources; at most 8 are supported",
            id="too many",
        ),
    ],
)
def test_a_model_that_could_never_be_executed_is_refused(needs, message):
    limits = RateLimits(shared={"s": 10})
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$"):
        check_resources([group(*needs)], limits, model_name="m")
