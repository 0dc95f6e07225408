"""Calls of clients, with a supervisor that carries out each wish at once."""

import asyncio

import pytest
from msgspec.structs import replace

from mpserve.control.messages import IndexCall, LoadCall, UnloadCall
from mpserve.dialect import DialectName
from mpserve.errors import ErrorCode
from mpserve.settings import ModelControlMode
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.repository_api import RepositoryApi
from mpserve.supervisor.repository_view import RepositoryView
from tests.unit.supervisor.worlds import World


@pytest.fixture
def world():
    return World()


@pytest.fixture
def ask(world, settings, view):
    """Make calls one after another; return their answers."""
    seen = view()

    def make(*calls, mode=ModelControlMode.EXPLICIT, is_ending=False, **fields):
        async def run():
            answers = []
            async with asyncio.TaskGroup() as tasks:
                api = RepositoryApi(
                    supervisor=world, view=seen, settings=settings(mode, **fields), tasks=tasks
                )
                if is_ending:
                    api.end()
                for call in calls:
                    got = asyncio.Event()
                    api.call(call, lambda reply, got=got: (answers.append(reply), got.set()))
                    await got.wait()
            return answers

        return asyncio.run(run())

    return make


def load(name="m", **fields):
    return LoadCall(call_id=1, name=name, **{"config": "", "files": {}, **fields})


def unload(name="m", *, unload_dependents=False):
    return UnloadCall(call_id=1, name=name, unload_dependents=unload_dependents)


def index(*, ready_only=False):
    return IndexCall(call_id=1, ready_only=ready_only)


def failures(answers):
    return [one.failure and (one.failure.code, one.failure.message) for one in answers]


def rows(answer):
    return [
        (row.name, row.version, row.state and row.state.value, row.reason) for row in answer.rows
    ]


def test_a_load_and_an_unload_are_wished_for_and_answered(ask, put, world):
    put("m")
    *calls, shown = ask(load(), unload(), index())
    assert failures(calls) == [None, None]
    assert world.wishes == [("m", "load", "client"), ("m", "unload", "client")]
    assert rows(shown) == [("m", "1", "UNAVAILABLE", "unloaded")]


def test_a_failed_load_is_answered_with_its_reason_and_may_be_unloaded(ask, put, world):
    put("m")
    world.broken = {"m"}
    failed, unloaded = ask(load(), unload())
    assert failed.failure.code is ErrorCode.LOAD_FAILED
    assert "ValueError: bad weights" in failed.failure.message
    assert unloaded.failure is None


def test_what_is_not_there_is_told_in_the_words_of_the_dialect(ask, world):
    unknown, unloaded = ask(load("x"), unload("x"))
    assert unknown.failure.message == "failed to load 'x', failed to poll from model repository"
    assert unloaded.failure is None
    assert world.wishes == []


def test_mlserver_knows_no_unload_of_what_is_not_there(ask):
    (answer,) = ask(unload("x"), dialect=DialectName.MLSERVER)
    assert failures([answer]) == [(ErrorCode.NOT_FOUND, "Model x not found")]


def test_a_folder_that_can_not_be_read_is_an_event_and_no_wish(ask, put, world):
    put("m", config="no { configuration")
    (answer,) = ask(load())
    assert answer.failure is not None
    ((name, origin, why),) = world.events.told
    assert (name, origin) == ("m", "client")
    assert "config.pbtxt" in why
    assert world.wishes == []


@pytest.mark.parametrize("mode", [ModelControlMode.NONE, ModelControlMode.POLL])
def test_other_modes_refuse_loads_and_unloads_and_show_the_index(ask, put, world, mode):
    put("m")
    *refused, shown = ask(load(), unload(), index(), mode=mode)
    assert [one.failure.message for one in refused] == [
        "explicit model load / unload is not allowed if polling is enabled"
    ] * 2
    assert rows(shown) == [("m", None, None, "")]
    assert world.wishes == []


def test_a_server_that_ends_takes_no_more_calls(ask, put, world):
    put("m")
    assert [one.failure.message for one in ask(load(), unload(), is_ending=True)] == [
        "Server not ready",
        "Server not ready",
    ]
    assert world.wishes == []


def test_only_ready_rows_are_told_when_asked_for(ask, put):
    put("a")
    put("b")
    _, shown = ask(load("a"), index(ready_only=True))
    assert rows(shown) == [("a", "1", "READY", "")]


def test_a_duplicate_is_told_once_and_without_a_version(world, put, root, settings, files):
    put("m")
    other = root.parent / "other"
    (other / "m").mkdir(parents=True)
    (other / "m/config.pbtxt").write_text('backend: "python"')
    both = replace(settings(), model_repositories=(str(root), str(other)))

    async def run():
        async with asyncio.TaskGroup() as tasks:
            view = RepositoryView(both, Checkpoint(files))
            api = RepositoryApi(supervisor=world, view=view, settings=both, tasks=tasks)
            return await api.index(ready_only=False)

    (row,) = asyncio.run(run())
    assert (row.name, row.version, row.reason) == (
        "m",
        None,
        "model appears in two or more repositories",
    )


def test_files_of_a_call_go_when_the_model_is_replaced(ask, put, root):
    put("m")
    files = {"1/model.py": b"class M: pass"}
    config = '{"backend": "python"}'
    loads = ask(load(config=config, files=files), load(config=config, files=files), load())
    assert failures(loads) == [None, None, None]
