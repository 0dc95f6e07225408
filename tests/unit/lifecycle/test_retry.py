"""A failed load is tried again, ever more seldom; a change of the content begins anew."""

import pytest

from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.retry import MAX_PAUSE_NS, Failing, follow, has_failed, is_due
from tests.unit.lifecycle.simulation import SECOND_NS, Simulation, define

INTERVAL_NS = 10 * SECOND_NS


class Follower:
    """A simulated server whose failures are followed."""

    def __init__(self):
        self.world = Simulation(policy=RestartPolicy(max_deaths=1))
        self.failing = {}

    def look(self):
        self.failing = follow(
            self.failing,
            self.world.wanted.wishes,
            self.world.actual.models,
            now_ns=self.world.now_ns,
        )
        return {name: one.failures for name, one in self.failing.items()}

    def fail(self, definition):
        self.world.wish(definition)
        self.look()
        self.world.refuse(self.world.instances("starting")[0])
        self.world.acknowledge()


def test_each_failed_try_counts_once_however_often_one_looks():
    follower = Follower()
    for failures in (1, 2, 3):
        follower.fail(define())
        assert follower.look() == {"m": failures}
        assert follower.look() == {"m": failures}


def test_other_content_begins_anew():
    follower = Follower()
    follower.fail(define())
    follower.look()
    follower.fail(define(content="other"))
    assert follower.look() == {"m": 1}


def test_success_is_the_end_of_it():
    follower = Follower()
    follower.fail(define())
    follower.look()
    follower.world.serve(define())
    assert follower.look() == {}


def test_a_failed_reload_counts_though_the_old_one_serves():
    follower = Follower()
    follower.world.serve(define(content="old"))
    follower.fail(define(content="new"))
    assert follower.look() == {"m": 1}


def test_a_version_that_was_given_up_is_tried_again():
    follower = Follower()
    follower.world.serve(define())
    follower.world.end(follower.world.instances("ready")[0])
    follower.world.acknowledge()
    assert follower.look() == {"m": 1}


def test_what_is_not_wanted_or_on_its_way_has_not_failed():
    follower = Follower()
    follower.world.wish(define())
    assert follower.look() == {}
    follower.world.wish(None)
    assert follower.look() == {}
    assert not has_failed(follower.world.wanted.wishes["m"], None)


@pytest.mark.parametrize(
    ("failures", "pause_ns"),
    [
        (1, INTERVAL_NS),
        (2, 2 * INTERVAL_NS),
        (4, 8 * INTERVAL_NS),
        (6, MAX_PAUSE_NS),
        (10_000, MAX_PAUSE_NS),
    ],
)
def test_the_pause_doubles_up_to_a_limit(failures, pause_ns):
    failing = Failing(definition=define(), wish=1, seen_ns=5, failures=failures)
    assert not is_due(failing, now_ns=4 + pause_ns, interval_ns=INTERVAL_NS)
    assert is_due(failing, now_ns=5 + pause_ns, interval_ns=INTERVAL_NS)


def test_the_pause_is_never_shorter_than_the_interval():
    interval_ns = 10 * MAX_PAUSE_NS
    failing = Failing(definition=define(), wish=1, seen_ns=0)
    assert not is_due(failing, now_ns=interval_ns - 1, interval_ns=interval_ns)
    assert is_due(failing, now_ns=interval_ns, interval_ns=interval_ns)
