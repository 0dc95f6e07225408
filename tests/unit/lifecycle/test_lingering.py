"""A generation that was replaced, and in which sequences go on."""

import pytest

from mpserve.lifecycle.actions import LingerGeneration, RetireGeneration
from mpserve.lifecycle.actual import earlier_generations
from mpserve.lifecycle.events import GenerationsHeld, SequencesEnded
from mpserve.lifecycle.plan import Limits, next_moment_ns
from tests.unit.lifecycle.simulation import SECOND_NS, SEQUENCES, Simulation, define

LIMITS = Limits(drain_timeout_ns=30 * SECOND_NS)


def sequencer(content, **other):
    return define(content=content, sequences=SEQUENCES, **other)


@pytest.fixture
def world():
    """A model with sequences that was replaced once; all frontends know it."""
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("old"))
    reload(world, sequencer("new"))
    return world


def reload(world, definition):
    world.wish(definition)
    world.load()
    world.acknowledge()


def lingering(world):
    return [one.generation for one in earlier_generations(world.actual.models["m"])]


def retired(world):
    return [one.generation for one in world.issued(RetireGeneration)]


def end_sequences(world, generation=1):
    world.tell(SequencesEnded(name="m", generation=generation))


def test_it_stays_until_its_last_sequence_has_ended(world):
    assert (lingering(world), retired(world)) == ([1], [])
    assert world.shown() == {"1": ("READY", "")}
    tables = len(world.published())
    end_sequences(world)
    assert (lingering(world), retired(world)) == ([], [1])
    assert len(world.published()) == tables + 1  # the frontends let go of it
    world.end_stopping()
    assert len(world.actual.models["m"].generations) == 1


def test_it_is_named_from_the_first_table_that_names_another(world):
    world.wish(sequencer("newer"))
    world.load()
    assert lingering(world) == [2, 1]
    assert [one.generation for one in world.issued(LingerGeneration)] == [1]
    world.acknowledge()  # only now nobody begins a sequence there any more
    assert [one.generation for one in world.issued(LingerGeneration)] == [1, 2]


def test_the_load_does_not_wait_for_sequences():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("old"))
    number = world.wish(sequencer("new"))
    world.load()
    world.acknowledge()
    assert world.answer(number) == [None]


def test_it_goes_at_its_deadline_though_sequences_go_on(world):
    assert next_moment_ns(world.wanted, world.actual) == 30 * SECOND_NS
    world.pass_time(30 * SECOND_NS - 1)
    assert retired(world) == []
    world.pass_time(1)
    assert retired(world) == [1]


def test_without_a_limit_it_is_waited_for():
    world = Simulation(limits=Limits(drain_timeout_ns=0))
    world.serve(sequencer("old"))
    reload(world, sequencer("new"))
    assert next_moment_ns(world.wanted, world.actual) is None
    world.pass_time(10_000 * SECOND_NS)
    assert retired(world) == []


def test_an_unload_ends_it_once_all_frontends_know(world):
    world.wish(None)
    assert (lingering(world), retired(world)) == ([], [])
    world.acknowledge()
    assert sorted(retired(world)) == [1, 2]


def test_the_end_of_the_server_ends_it(world):
    world.stop()
    world.acknowledge()
    assert sorted(retired(world)) == [1, 2]


def test_an_unload_does_not_wait_for_sequences():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("old"))
    world.wish(None)
    world.acknowledge()
    assert retired(world) == [1]
    assert world.issued(LingerGeneration) == []


def test_it_goes_when_its_last_worker_has_died(world):
    world.end(world.instances("ready")[0])
    assert (lingering(world), retired(world)) == ([], [1])
    assert len(world.instances("ready")) == 1


def test_one_of_its_workers_may_die():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("old", count=2))
    reload(world, sequencer("new"))
    started = len(world.started())
    world.end(world.instances("ready")[0])
    assert (lingering(world), retired(world)) == ([1], [])
    assert len(world.started()) == started  # nobody needs it again


def test_a_version_that_is_not_wanted_any_more_keeps_its_sequences():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("x", versions="1"))
    reload(world, sequencer("x", versions="2"))
    assert lingering(world) == [1]
    assert world.shown() == {"1": ("UNLOADING", ""), "2": ("READY", "")}
    end_sequences(world)
    world.end_stopping()
    assert world.shown() == {"1": ("UNAVAILABLE", "unloaded"), "2": ("READY", "")}


def test_what_was_never_published_does_not_stay():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("x", versions="12"))
    world.wish(sequencer("y", versions="12"))
    first, second = world.instances("starting")
    world.load(first)
    world.refuse(second)
    assert lingering(world) == []
    assert sorted(retired(world)) == [3, 4]


def test_requests_of_ensembles_that_hold_it_come_first():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("old"))
    world.tell(GenerationsHeld(generations=frozenset({1})))
    reload(world, sequencer("new"))
    assert world.issued(LingerGeneration) == []
    world.tell(GenerationsHeld(generations=frozenset()))
    assert [one.generation for one in world.issued(LingerGeneration)] == [1]


def test_a_model_without_sequences_does_not_stay():
    world = Simulation(limits=LIMITS)
    world.serve(define(content="old"))
    reload(world, define(content="new"))
    assert retired(world) == [1]
    assert world.issued(LingerGeneration) == []


def test_an_instance_that_was_taken_away_before_is_cut_off_in_its_time():
    world = Simulation(limits=LIMITS)
    world.serve(sequencer("old", count=2))
    world.wish(sequencer("old", count=1))
    world.acknowledge()
    (going,) = world.instances("stopping")
    reload(world, sequencer("new"))
    world.pass_time(30 * SECOND_NS)
    killed = [one.instance for one in world.actions if type(one).__name__ == "KillInstance"]
    assert killed == [going]
