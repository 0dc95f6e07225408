"""Rows of the routing table, from what is."""

import pytest

from mpserve.lifecycle.events import TableAcknowledged
from mpserve.model.state import ModelState
from mpserve.settings import Settings
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.definition_memory import DefinitionMemory
from mpserve.supervisor.publication import DESCRIBED_PREFIX, Publication
from tests.unit.lifecycle.simulation import Simulation, define


class Queues:
    """Names queues as `Workers` does."""

    settings = Settings()

    def queue_name(self, generation):
        return f"queue-{generation}"


@pytest.fixture
def files():
    return checkpoint_files()


@pytest.fixture
def rows(files):
    """Return what frontends would be told of a world: model -> its row."""
    return told_by(published(files))


def published(files):
    return Publication(Queues(), DefinitionMemory(Checkpoint(files), (DESCRIBED_PREFIX,)))


def told_by(publication):
    def told(world):
        names = frozenset(world.actual.models)
        table = publication.table(world.actual, names, number=7, is_ready=True, is_live=True)
        return {entry.name: entry for entry in table.changed}

    return told


def seen(row):
    return [(one.version, one.state, one.generation, one.queue_segment) for one in row.versions]


def test_a_version_that_serves_is_told_with_its_queue(rows):
    world = Simulation()
    world.serve(define(versions="12"))
    row = rows(world)["m"]
    assert row.directory == "/models/m"
    assert seen(row) == [
        ("1", ModelState.READY, 1, "queue-1"),
        ("2", ModelState.READY, 2, "queue-2"),
    ]


def test_what_loads_or_failed_is_told_with_its_state_and_without_a_queue(rows):
    world = Simulation()
    world.wish(define())
    assert seen(rows(world)["m"]) == [("1", ModelState.LOADING, 0, "")]
    world.refuse(world.instances("starting")[0])
    (version,) = rows(world)["m"].versions
    assert (version.state, version.reason) == (
        ModelState.UNAVAILABLE,
        "Internal: ValueError: bad weights",
    )


def test_what_serves_describes_the_model_while_something_else_loads(rows):
    world = Simulation()
    world.serve(define())
    rows(world)
    world.wish(define(versions="2", content="other"))
    assert [one[:2] for one in seen(rows(world)["m"])] == [
        ("1", ModelState.READY),
        ("2", ModelState.LOADING),
    ]


def test_an_unloaded_model_is_described_as_it_was_last_also_by_the_next_supervisor(rows, files):
    world = Simulation()
    world.serve(define())
    rows(world)
    world.wish(None)
    world.tell(TableAcknowledged(number=world.actual.table_number))
    world.end_stopping()
    assert rows(world)["m"].directory == "/models/m"
    successor = told_by(published(files))
    assert successor(world)["m"] == rows(world)["m"]


def test_what_was_wished_away_before_it_was_described_has_no_row(rows):
    world = Simulation()
    world.wish(None)
    assert rows(world) == {}
