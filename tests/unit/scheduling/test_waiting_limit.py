"""The server's limit holds for models that have none of their own."""

import pytest

from mpserve.model.config import (
    BatchingPolicy,
    InstanceGroup,
    ModelConfig,
    QueuePolicies,
    QueuePolicy,
)
from mpserve.model.ensemble import Ensemble
from mpserve.model.sequence import SequencePolicy
from mpserve.scheduling.waiting_limit import with_waiting_limit
from mpserve.settings import Settings

TWO = Settings(max_waiting_per_instance=2)
GROUPS = (
    InstanceGroup(name="a", count=3),
    InstanceGroup(name="b", count=4, passive=True),
)


def test_it_is_of_as_many_executions_as_there_are_active_instances():
    limited = with_waiting_limit(ModelConfig(instance_groups=GROUPS), TWO)
    assert limited.queue_policies.general.max_queue_size == 6


def test_an_execution_takes_a_batch():
    config = ModelConfig(instance_groups=GROUPS, batching=BatchingPolicy(max_requests=8))
    assert with_waiting_limit(config, TWO).queue_policies.general.max_queue_size == 48


def test_levels_with_a_limit_of_their_own_keep_it():
    policies = QueuePolicies(
        priority_levels=3,
        general=QueuePolicy(default_timeout_us=7),
        by_level={1: QueuePolicy(max_queue_size=9), 2: QueuePolicy(delay_on_timeout=True)},
    )
    config = ModelConfig(instance_groups=GROUPS, queue_policies=policies)
    limited = with_waiting_limit(config, TWO).queue_policies
    assert limited.by_level[1] == policies.by_level[1]
    assert limited.by_level[2] == QueuePolicy(max_queue_size=6, delay_on_timeout=True)
    assert limited.general == QueuePolicy(max_queue_size=6, default_timeout_us=7)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (ModelConfig(instance_groups=GROUPS), Settings()),
        (ModelConfig(sequences=SequencePolicy(slots=1, idle_us=0)), TWO),
        (ModelConfig(ensemble=Ensemble(steps=())), TWO),
        (ModelConfig(queue_policies=QueuePolicies(general=QueuePolicy(max_queue_size=3))), TWO),
    ],
    ids=["no limit", "sequences", "ensemble", "its own"],
)
def test_others_are_as_they_were(config, settings):
    assert with_waiting_limit(config, settings) == config
