"""Which transitions lie between two states of a model."""

from mpserve.lifecycle.actual import Actual, ModelRecord
from mpserve.lifecycle.journal import transitions
from tests.unit.lifecycle.simulation import Simulation, define


class Recorder(Simulation):
    """Notes what changes with everything that is observed."""

    def __init__(self):
        self._actual = Actual()
        self._told = []
        super().__init__()

    @property
    def actual(self):
        return self._actual

    @actual.setter
    def actual(self, after):
        if "m" in after.models:
            self._told += transitions(self._actual.models.get("m"), after.models["m"])
        self._actual = after

    def changes(self):
        """Return what changed since the last call."""
        told, self._told = self._told, []
        return [
            (
                one.generation,
                one.instance,
                one.from_state.value if one.from_state else None,
                one.to.value,
                one.why,
            )
            for one in told
        ]


def test_a_load_is_told_from_its_begin_to_ready():
    story = Recorder()
    story.wish(define())
    assert story.changes() == [(1, None, None, "LOADING", "")]
    story.load()
    assert story.changes() == [(1, None, "LOADING", "READY", "")]


def test_a_reload_tells_both_generations():
    story = Recorder()
    story.serve(define())
    story.changes()
    story.wish(define(content="y"))
    assert story.changes() == [(2, None, None, "LOADING", "")]
    story.load()
    assert story.changes() == [
        (1, None, "READY", "UNLOADING", ""),
        (2, None, "LOADING", "READY", ""),
    ]
    story.acknowledge()
    story.end_stopping()
    assert story.changes() == [(1, None, "UNLOADING", "UNAVAILABLE", "unloaded")]


def test_a_failed_reload_tells_why_and_leaves_the_other_alone():
    story = Recorder()
    story.serve(define())
    story.changes()
    story.wish(define(content="y"))
    story.changes()
    (key,) = story.instances("starting")
    story.refuse(key)
    assert story.changes() == [(2, None, "LOADING", "UNAVAILABLE", "ValueError: bad weights")]


def test_the_death_of_a_worker_and_its_return_are_told_of_its_instance():
    story = Recorder()
    story.serve(define(count=2))
    story.changes()
    key = story.instances("ready")[0]
    story.end(key)
    story.load(key)
    assert story.changes() == [
        (1, key.index, "READY", "UNAVAILABLE", "it died"),
        (1, key.index, "UNAVAILABLE", "LOADING", ""),
        (1, key.index, "LOADING", "READY", ""),
    ]


def test_an_instance_that_is_added_is_told_alone():
    story = Recorder()
    story.serve(define(count=1))
    story.changes()
    story.serve(define(count=2))
    assert story.changes() == [
        (1, 1, None, "LOADING", ""),
        (1, 1, "LOADING", "READY", ""),
    ]


def test_nothing_changed_means_nothing_told():
    record = ModelRecord(name="m")
    assert transitions(record, record) == ()
    assert transitions(None, record) == ()
