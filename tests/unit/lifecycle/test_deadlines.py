"""Workers that do not end in time: killed once, and nothing is done about them before."""

from mpserve.lifecycle.actions import KillInstance, StopInstance
from mpserve.lifecycle.events import InstanceFailed
from mpserve.lifecycle.plan import Limits, next_moment_ns
from tests.unit.lifecycle.simulation import REFUSED, SECOND_NS, Simulation, define

LIMITS = Limits(load_timeout_ns=10 * SECOND_NS, drain_timeout_ns=3 * SECOND_NS)
LATE = "not done 3 s after it was replaced; raise --model-drain-timeout-secs"


def kills(world):
    return [(one.instance.index, one.failure.message) for one in world.issued(KillInstance)]


def test_an_unloaded_worker_that_goes_on_too_long_is_killed_once():
    world = Simulation(limits=LIMITS)
    world.serve(define())
    world.wish(None)
    world.acknowledge()
    assert next_moment_ns(world.wanted, world.actual) == world.now_ns + 3 * SECOND_NS
    world.pass_time(3 * SECOND_NS - 1)
    assert kills(world) == []
    world.pass_time(1)
    assert kills(world) == [(0, LATE)]
    assert next_moment_ns(world.wanted, world.actual) is None
    world.pass_time(60 * SECOND_NS)
    assert len(kills(world)) == 1
    world.end_stopping()
    assert world.actual.models["m"].generations == ()
    assert world.shown() == {"1": ("UNAVAILABLE", "unloaded")}


def test_a_replaced_worker_that_goes_on_too_long_leaves_the_new_one_alone():
    world = Simulation(limits=LIMITS)
    world.serve(define(content="old"))
    world.wish(define(content="new"))
    world.load()
    world.acknowledge()
    world.pass_time(3 * SECOND_NS)
    assert kills(world) == [(0, LATE)]
    world.end_stopping()
    assert world.shown() == {"1": ("READY", "")}
    assert len(world.actual.models["m"].generations) == 1


def test_a_removed_instance_that_goes_on_too_long_is_not_started_again():
    world = Simulation(limits=LIMITS)
    world.serve(define(count=2))
    world.wish(define(count=1))
    world.pass_time(3 * SECOND_NS)
    assert [text for _, text in kills(world)] == [LATE]
    world.end_stopping()
    assert len(world.started()) == 2
    assert len(world.instances("ready")) == 1
    assert world.instances("stopping", "resting", "pending") == []


def test_without_a_limit_a_worker_is_waited_for():
    world = Simulation(limits=Limits(drain_timeout_ns=0))
    world.serve(define())
    world.wish(None)
    world.acknowledge()
    (stop,) = world.issued(StopInstance)
    assert stop.deadline_ns == 0
    assert next_moment_ns(world.wanted, world.actual) is None
    world.pass_time(1_000_000 * SECOND_NS)
    assert kills(world) == []


def test_a_worker_that_failed_to_load_and_does_not_end_is_killed_when_its_load_is_over():
    world = Simulation(limits=LIMITS)
    number = world.wish(define())
    (key,) = world.instances("starting")
    world.tell(InstanceFailed(instance=key, failure=REFUSED))
    world.pass_time(10 * SECOND_NS)
    assert len(kills(world)) == 1
    assert world.answer(number) == []
    world.end(key)
    (failure,) = world.answer(number)
    assert "ValueError: bad weights" in failure.message
