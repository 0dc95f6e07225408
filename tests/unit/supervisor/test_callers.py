"""Workers that call other models: as many as rings for their answers, and no more."""

import pytest

from mpserve.control.messages import JoinCallers, PublishTable
from mpserve.errors import ErrorCode
from mpserve.model.identity import InstanceKey
from mpserve.shm.completion_ring import MAX_RINGS
from mpserve.supervisor.callers import Callers
from mpserve.supervisor.shared_places import CallerIdentity, ProcessIdentity


class Memory:
    """Rings for so many callers."""

    server_id = "0"
    rings = (object(),)

    def __init__(self, free):
        self.free = list(range(free))

    def begin_caller(self):
        if not self.free:
            return None
        ring = self.free.pop()
        process = ProcessIdentity(index=10 + ring, epoch=1)
        return CallerIdentity(process=process, ring_index=ring)

    def end_caller(self, identity):
        self.free.append(identity.ring_index)


class Processes:
    def note_caller(self, child, identity):
        child.noted = identity


class Child:
    def __init__(self):
        self.heard = []
        self.noted = None

    def send(self, message):
        self.heard.append(message)


def key(index):
    return InstanceKey(name="m", version="1", generation=1, index=index)


TABLE = PublishTable(number=3, changed=(), removed=(), server_ready=True, server_live=True)


@pytest.fixture
def callers():
    made = Callers(Memory(2), Processes())
    made.answer_by(whole_table=lambda: TABLE, called=None)
    return made


def join(callers, index):
    child = Child()
    assert callers.take(key(index), child, JoinCallers())
    return child


def test_a_worker_that_joins_gets_a_ring_and_the_whole_table(callers):
    child = join(callers, 1)
    joined, table = child.heard
    assert (joined.failure, joined.process_index) == (None, child.noted.process.index)
    assert table == TABLE


def test_one_caller_too_many_is_told_how_many_may(callers):
    join(callers, 1)
    join(callers, 2)
    refused = join(callers, 3)
    (answer,) = refused.heard
    assert answer.failure.code == ErrorCode.EXHAUSTED
    assert answer.failure.message == (
        f"too many instances send requests to models: at most {MAX_RINGS - 1} may"
    )
    assert refused.noted is None


def test_a_caller_that_ended_makes_room_for_another(callers):
    join(callers, 1)
    ended = join(callers, 2)
    dropped = []
    callers.ended(key(2), dropped.append)
    assert dropped == [ended.noted]
    assert join(callers, 3).heard[0].failure is None


def test_a_worker_that_asks_again_keeps_its_ring(callers):
    first, again = join(callers, 1), join(callers, 1)
    assert first.noted == again.noted
    assert join(callers, 2).heard[0].failure is None
