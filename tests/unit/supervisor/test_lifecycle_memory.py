"""What a supervisor knows of the one before it."""

import os

import pytest

from mpserve.lifecycle.actions import BeginOperation, SettleWish
from mpserve.lifecycle.actual import Actual
from mpserve.lifecycle.observation import observe
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.wanted import Wish
from mpserve.model.identity import ModelName
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.definition_memory import DEFINITION_PREFIX, DefinitionMemory
from mpserve.supervisor.lifecycle_memory import WITH_DEFINITIONS, LifecycleMemory
from tests.unit.lifecycle.simulation import Simulation, define

NAME = ModelName("m")


@pytest.fixture
def files():
    pair = checkpoint_files()
    yield pair
    for fd in pair:
        os.close(fd)


def memory_of(checkpoint):
    return LifecycleMemory(checkpoint, DefinitionMemory(checkpoint, WITH_DEFINITIONS))


def succeed(files):
    """Return what the next supervisor knows."""
    return memory_of(Checkpoint(files))


def kept_definitions(files):
    return len(Checkpoint(files).read_all(DEFINITION_PREFIX, dict))


class World(Simulation):
    """A simulation that is noted when the test says so."""

    def __init__(self, files):
        super().__init__()
        self.checkpoint = Checkpoint(files)
        self.memory = memory_of(self.checkpoint)

    def make(self, wish):
        self.memory.wished(wish)
        super().make(wish)

    def keep(self):
        settled = SettleWish(name=NAME, number=0, failure=None)  # any that is about the model
        self.memory.observed(Actual(), self.actual, settled)
        self.checkpoint.flush()


def begun(wish):
    return [BeginOperation(wish=wish)]


def settled(wish):
    return [BeginOperation(wish=wish), SettleWish(name=NAME, number=wish.number, failure=None)]


def settled_before(wish):
    return [SettleWish(name=NAME, number=wish.number - 1, failure=None)]


def nothing(_wish):
    return []


@pytest.mark.parametrize(
    ("past", "is_open"),
    [(nothing, True), (settled_before, True), (settled, False), (begun, True)],
    ids=["nothing was begun", "an earlier one was settled", "settled", "it goes on"],
)
def test_a_wish_is_open_unless_it_was_settled(files, past, is_open):
    checkpoint = Checkpoint(files)
    memory = memory_of(checkpoint)
    wish = Wish(number=3, name=NAME, definition=None)
    memory.wished(wish)
    actual = Actual()
    for action in past(wish):
        before, actual = actual, observe(actual, action, policy=RestartPolicy())
        memory.observed(before, actual, action)
    checkpoint.flush()
    memory = succeed(files)
    wanted = memory.wanted(memory.actual())
    assert wanted.wishes[NAME].number == memory.last_wish() == 3
    assert wanted.open == ({NAME} if is_open else set())


def loading(world):
    world.wish(define())


def serving(world):
    world.serve(define(count=2))


def reloading(world):
    world.serve(define())
    world.wish(define(content="new"))


def grown(world):
    world.serve(define())
    world.wish(define(count=2))
    world.load()
    world.acknowledge()


def reloaded(world):
    reloading(world)
    world.keep()
    world.load()
    world.acknowledge()
    world.end_stopping()


def failed(world):
    world.wish(define())
    world.refuse(world.instances("starting")[0])


def unloaded(world):
    world.serve(define())
    world.keep()
    world.wish(None)
    world.acknowledge()
    world.end_stopping()


@pytest.mark.parametrize(
    ("story", "definitions"),
    [
        (loading, 1),
        (serving, 1),
        (reloading, 2),
        (grown, 1),
        (reloaded, 1),
        (failed, 1),
        (unloaded, 0),
    ],
)
def test_the_next_one_knows_what_was_and_each_definition_is_kept_once(files, story, definitions):
    world = World(files)
    story(world)
    world.keep()
    memory = succeed(files)
    actual = memory.actual()
    assert actual.models == world.actual.models
    assert actual.rows == world.actual.rows
    assert memory.wanted(actual).wishes == world.wanted.wishes
    assert kept_definitions(files) == definitions


def test_a_definition_whose_entry_was_never_written_is_dropped(files):
    Checkpoint(files).put(f"{DEFINITION_PREFIX}7", define())
    succeed(files)
    assert kept_definitions(files) == 0
