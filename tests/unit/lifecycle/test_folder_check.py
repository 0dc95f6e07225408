"""A load that poll asked for is published only when its files are still as they were."""

from mpserve.lifecycle.actions import CheckFolder, CommitOperation
from mpserve.lifecycle.events import FolderChecked
from mpserve.lifecycle.wanted import Wish
from mpserve.model.event import Origin
from tests.unit.lifecycle.simulation import Simulation, define


def poll(world, definition):
    number = world.next_wish()
    world.make(Wish(number=number, name=definition.name, definition=definition, origin=Origin.POLL))
    return number


def look(world, number, *, is_unchanged):
    world.tell(FolderChecked(name="m", wish=number, is_unchanged=is_unchanged))
    world.acknowledge()
    world.end_stopping()


def test_a_polled_load_is_published_after_a_second_look_at_its_folder():
    world = Simulation()
    number = poll(world, define())
    world.load()
    (check,) = world.issued(CheckFolder)
    assert check.definition == define()
    assert world.issued(CommitOperation) == []
    look(world, number, is_unchanged=True)
    assert world.shown() == {"1": ("READY", "")}
    assert world.answer(number) == [None]


def test_what_was_changed_while_it_was_loaded_leaves_the_old_one_serving():
    world = Simulation()
    world.serve(define(content="old"))
    before = world.actual.models["m"].serving("1").generation
    number = poll(world, define(content="half"))
    world.load()
    look(world, number, is_unchanged=False)
    assert world.actual.models["m"].serving("1").generation == before
    assert len(world.actual.models["m"].generations) == 1
    (failure,) = world.answer(number)
    assert "its files were changed while it was loaded" in failure.message


def test_an_answer_to_an_older_wish_counts_for_nothing():
    world = Simulation()
    first = poll(world, define())
    world.load()
    look(world, first, is_unchanged=False)
    poll(world, define(content="other"))
    world.load()
    look(world, first, is_unchanged=True)
    assert world.shown()["1"][0] == "LOADING"


def test_a_load_that_failed_needs_no_look():
    world = Simulation()
    poll(world, define())
    world.refuse(world.instances("starting")[0])
    assert world.issued(CheckFolder) == []


def test_a_load_that_a_client_asked_for_needs_no_look():
    world = Simulation()
    world.serve(define())
    assert world.issued(CheckFolder) == []


def test_an_unload_needs_no_look():
    world = Simulation()
    world.serve(define())
    world.make(Wish(number=world.next_wish(), name="m", definition=None, origin=Origin.POLL))
    world.acknowledge()
    world.end_stopping()
    assert world.issued(CheckFolder) == []
    assert world.shown() == {"1": ("UNAVAILABLE", "unloaded")}
