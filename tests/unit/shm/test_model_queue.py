"""A model queue as the supervisor makes it."""

import pytest

from mpserve._native import QueueProbe
from mpserve.model.sequence import SequencePolicy
from mpserve.shm.model_queue import ModelQueue
from mpserve.shm.server_id import claim_server_id, release_server_id

DAY_NS = 86_400_000_000_000


@pytest.fixture
def make():
    identity = claim_server_id()
    made = []

    def make(policy):
        queue = ModelQueue.create(identity.server_id, 1, rings=[], wake_fds=[], sequences=policy)
        queue.unlink()
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()
    release_server_id(identity)


@pytest.mark.parametrize("idle_us", [2**64 - 1, 2**64 // 1000, 2**63])
def test_a_sequence_may_be_idle_for_as_long_as_a_configuration_can_say(make, idle_us):
    queue = make(SequencePolicy(slots=1, idle_us=idle_us))
    probe = QueueProbe(queue.native)
    probe.activate(0)
    assert probe.push_sequenced(
        1, number=7, starts=True, ends=False, timeout_us=0, shape=0, now_ns=DAY_NS
    )
    rule = {"max_rows": 1, "max_requests": 1, "max_delay_ns": 0, "ready_slots": 1}
    ((_, slot, *_),), _ = probe.pop_sequenced(0, **rule, done=[], now_ns=DAY_NS)
    assert probe.pop_sequenced(0, **rule, done=[slot], now_ns=DAY_NS)[0] == []
    assert probe.push_sequenced(
        2, number=7, starts=False, ends=False, timeout_us=0, shape=0, now_ns=200 * DAY_NS
    )
    del probe
