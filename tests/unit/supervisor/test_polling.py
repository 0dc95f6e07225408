"""Poll mode with a supervisor that carries out each wish at once; disk and clock are real."""

import asyncio
import shutil
import time

import pytest

from mpserve.lifecycle.actual import shown_versions
from mpserve.lifecycle.reasons import UNLOADED
from mpserve.model.state import ModelState
from mpserve.settings import ModelControlMode
from mpserve.supervisor.polling import OF_NO_SCAN, Polling, taken_over
from mpserve.supervisor.repository_view import scan_options
from tests.unit.lifecycle.simulation import Simulation, define
from tests.unit.supervisor.worlds import World

TAKEN_SECONDS = 20.0
INTERVAL_SECONDS = 0.1


@pytest.fixture
def world():
    return World()


@pytest.fixture
def follow(world, view):
    """Poll while `change` is made; return the wishes once so many were made and refusals told."""

    def run(change, *, wishes=0, refusals=0):
        async def main():
            seen = view(ModelControlMode.POLL)
            stop = asyncio.Event()
            polling = Polling(
                supervisor=world,
                view=seen,
                first=seen.scan_now(),
                interval_s=INTERVAL_SECONDS,
                now_ns=time.monotonic_ns,
            )
            async with asyncio.timeout(TAKEN_SECONDS), asyncio.TaskGroup() as tasks:
                tasks.create_task(polling.run(stop))
                change()
                while len(world.wishes) < wishes or len(world.events.told) < refusals:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                stop.set()

        asyncio.run(main())
        return world.wishes

    return run


def test_a_folder_that_comes_is_loaded(follow, put):
    assert follow(lambda: put("m"), wishes=1) == [("m", "load", "poll")]


def test_a_folder_that_goes_is_unloaded(follow, put, root):
    put("m")
    follow(lambda: None, wishes=1)
    wishes = follow(lambda: shutil.rmtree(root / "m"), wishes=2)
    assert wishes == [("m", "load", "poll"), ("m", "unload", "poll")]


def test_a_folder_that_can_not_be_read_is_told_once_and_nothing_is_wished(follow, put, world):
    follow(lambda: put("m", config="no { configuration"), refusals=1)
    ((name, origin, why),) = world.events.told
    assert (name, origin) == ("m", "poll")
    assert "config.pbtxt" in why
    assert world.wishes == []


def test_a_load_that_failed_is_wished_for_again(follow, put, world):
    world.broken = {"m"}
    assert follow(lambda: put("m"), wishes=3) == [("m", "load", "poll")] * 3


NO_GPU = 'backend: "python" instance_group { kind: KIND_GPU }\n'


def shown(world):
    return [
        (one.version, one.state, one.reason) for one in shown_versions(world.actual.models["m"])
    ]


def test_a_model_that_is_refused_shows_its_versions_and_is_forgotten_with_its_folder(
    follow, put, root, world
):
    follow(lambda: put("m", config=NO_GPU), refusals=1)
    ((version, state, reason),) = shown(world)
    assert (version, state) == ("1", ModelState.UNAVAILABLE)
    assert reason.endswith("has kind KIND_GPU but server does not support GPUs")
    assert world.wishes == []
    follow(lambda: shutil.rmtree(root / "m"), wishes=1)
    assert world.wishes == [("m", "unload", "poll")]
    assert shown(world) == [("1", ModelState.UNAVAILABLE, UNLOADED)]


def test_the_next_supervisor_takes_what_is_wished_for_as_taken_but_of_no_scan(settings):
    simulation = Simulation()
    simulation.wish(define("a"))
    simulation.wish(define("b"))
    simulation.wish(None, name="b")
    result = taken_over(simulation.wanted, scan_options(settings()))
    assert result.names == ("a",)
    assert result.tokens == {"a": OF_NO_SCAN}
