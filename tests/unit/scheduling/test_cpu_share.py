"""The CPUs and threads of an instance."""

import pytest

from mpserve.errors import LoadError
from mpserve.model.config import ModelConfig
from mpserve.scheduling.cpu_share import CpuShare, cpu_share, told_threads

POLICIES = ("cpu,cpu-cores=0-1", "fast,numa-node=0", "fast,cpu-cores=9-9", "fast,cpu-cores=2-7")


def share(policy: str = "", told: int = 0, *, policies=POLICIES, instances: int = 1) -> CpuShare:
    return cpu_share(
        policies=policies, policy=policy, threads=told, cpu_count=8, instances=instances
    )


def told_by(text: str) -> int:
    return told_threads(ModelConfig(parameters={"MPSERVE_THREADS": text}))


@pytest.mark.parametrize(
    ("policy", "cpus"),
    [
        pytest.param("", (0, 1), id="the default one"),
        pytest.param("fast", (2, 3, 4, 5, 6, 7), id="the last one of a name"),
        pytest.param("unknown", (), id="an unknown one binds nobody"),
    ],
)
def test_a_group_is_bound_to_the_cpus_of_its_policy(policy, cpus):
    assert share(policy).cpus == cpus


@pytest.mark.parametrize(
    ("instances", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1)], ids=str
)
def test_instances_share_the_cpus(instances, threads):
    assert share(policies=(), instances=instances) == CpuShare(threads=threads)


def test_instances_of_a_policy_share_its_cpus():
    assert share("fast", instances=3).threads == 2


def test_a_model_may_say_how_many_threads_it_wants():
    assert share(told=told_by("3"), instances=8).threads == 3


@pytest.mark.parametrize("told", ["0", "-1", "many", "1.5"])
def test_no_number_of_threads_is_refused(told):
    with pytest.raises(LoadError, match=f"'MPSERVE_THREADS' is '{told}'"):
        told_by(told)
