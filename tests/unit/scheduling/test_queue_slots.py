"""The size of a queue, from what its policy lets wait and what its instances hold."""

import pytest

from mpserve.model.config import (
    BatchingPolicy,
    InstanceGroup,
    ModelConfig,
    QueuePolicies,
    QueuePolicy,
)
from mpserve.model.signature import Signature
from mpserve.scheduling.queue_slots import MOST, queue_slots

LIMITED = QueuePolicy(max_queue_size=100)


@pytest.mark.parametrize(
    ("policies", "slots"),
    [
        pytest.param(QueuePolicies(), 10, id="no limit"),
        pytest.param(QueuePolicies(general=QueuePolicy(max_queue_size=2)), 26, id="a small one"),
        pytest.param(QueuePolicies(general=LIMITED), 124, id="a large one, and three batches"),
        pytest.param(
            QueuePolicies(priority_levels=3, general=LIMITED, by_level={2: LIMITED}),
            324,
            id="one for each level",
        ),
        pytest.param(
            QueuePolicies(priority_levels=2, by_level={1: LIMITED}), 10, id="a level without"
        ),
        pytest.param(
            QueuePolicies(priority_levels=2**64 - 1, general=LIMITED), MOST, id="too many levels"
        ),
    ],
)
def test_a_queue_has_room_for_all_that_may_wait(policies, slots):
    config = ModelConfig(
        queue_policies=policies,
        batching=BatchingPolicy(),
        signature=Signature(max_batch_size=8),
        instance_groups=(InstanceGroup(name="g", count=3),),
    )
    assert queue_slots(config, default=10) == slots
