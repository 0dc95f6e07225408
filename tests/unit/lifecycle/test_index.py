import pytest

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.actions import PublishTable
from mpserve.lifecycle.events import InstanceChecked, LoadRefused
from mpserve.lifecycle.index import index_rows, is_ready
from mpserve.model.state import IndexRow, ModelState
from tests.unit.lifecycle.simulation import Simulation, define


def row(name, version, state, reason=""):
    return IndexRow(name=name, version=version, state=state, reason=reason)


def refusal(*versions):
    failure = Failure(code=ErrorCode.INVALID_ARGUMENT, message="too much")
    return LoadRefused(name="m", versions=versions, failure=failure)


def test_rows_are_sorted_by_name_and_then_by_number():
    world = Simulation()
    world.serve(define("b", versions=("2", "10", "1")))
    world.serve(define("a"))
    rows = index_rows(world.actual, listed={"b": "", "a": ""}, ready_only=False)
    assert [(one.name, one.version) for one in rows] == [
        ("a", "1"),
        ("b", "1"),
        ("b", "2"),
        ("b", "10"),
    ]


def test_a_folder_that_was_never_loaded_has_a_name_only():
    world = Simulation()
    assert index_rows(world.actual, listed={"a": ""}, ready_only=False) == (row("a", None, None),)


def test_a_model_that_is_in_no_repository_any_more_is_not_listed():
    world = Simulation()
    world.serve(define())
    assert index_rows(world.actual, listed={}, ready_only=False) == ()


def test_a_broken_folder_shows_its_reason_beside_what_serves_on():
    world = Simulation()
    world.serve(define())
    rows = index_rows(world.actual, listed={"m": "no config", "n": "no file"}, ready_only=False)
    assert rows == (
        row("m", "1", ModelState.READY, "no config"),
        row("n", None, ModelState.UNAVAILABLE, "no file"),
    )


def test_only_ready_rows_are_kept_when_asked_for():
    world = Simulation()
    world.serve(define("a"))
    world.wish(define("b"))
    rows = index_rows(world.actual, listed={"a": "", "b": "", "c": ""}, ready_only=True)
    assert rows == (row("a", "1", ModelState.READY),)


def test_a_version_without_a_number_has_none():
    world = Simulation()
    world.serve(define(versions=("",)))
    (only,) = index_rows(world.actual, listed={"m": ""}, ready_only=False)
    assert only == row("m", None, ModelState.READY)


def test_a_refused_version_says_why_until_it_is_loaded():
    world = Simulation()
    (published,) = world.tell(refusal("1", "2"))
    assert isinstance(published, PublishTable)
    reason = "Invalid argument: too much"
    rows = index_rows(world.actual, listed={"m": ""}, ready_only=False)
    assert rows == tuple(row("m", one, ModelState.UNAVAILABLE, reason) for one in ("1", "2"))
    world.serve(define(versions=("1", "2")))
    rows = index_rows(world.actual, listed={"m": ""}, ready_only=False)
    assert rows == tuple(row("m", one, ModelState.READY) for one in ("1", "2"))


def test_a_version_that_serves_shows_nothing_of_a_refused_reload():
    world = Simulation()
    world.serve(define())
    world.tell(refusal("1", "2"))
    rows = index_rows(world.actual, listed={"m": ""}, ready_only=False)
    assert rows == (
        row("m", "1", ModelState.READY),
        row("m", "2", ModelState.UNAVAILABLE, "Invalid argument: too much"),
    )


def served(world):
    world.serve(define())


def loading(world):
    world.wish(define())


def failed(world):
    world.wish(define())
    world.refuse(world.instances("starting")[0])


def unloaded(world):
    world.serve(define())
    world.wish(None)
    world.acknowledge()
    world.end_stopping()


def unloading(world):
    world.serve(define())
    world.wish(None)


def refused(world):
    world.tell(refusal("1"))


def refused_and_unloaded(world):
    refused(world)
    world.wish(None)
    world.acknowledge()


@pytest.mark.parametrize(
    ("story", "ready"),
    [
        (served, True),
        (loading, False),
        (failed, False),
        (refused, False),
        (refused_and_unloaded, True),
        (unloading, False),
        (unloaded, True),
    ],
)
def test_a_strict_server_is_ready_when_every_version_serves_or_was_unloaded(story, ready):
    world = Simulation()
    story(world)
    assert is_ready(world.actual, strict=True) is ready
    assert is_ready(world.actual, strict=False) is True


def test_a_version_that_complains_serves_and_is_not_ready():
    world = Simulation()
    world.serve(define())
    (key,) = world.instances("ready")
    (published,) = world.tell(InstanceChecked(instance=key, complaint="no"))
    assert isinstance(published, PublishTable)
    assert published.names == {"m"}
    rows = index_rows(world.actual, listed={"m": ""}, ready_only=True)
    assert rows == (row("m", "1", ModelState.READY, "no"),)
    assert not is_ready(world.actual, strict=True)
    assert is_ready(world.actual, strict=False)
    world.tell(InstanceChecked(instance=key, complaint=""))
    assert is_ready(world.actual, strict=True)


def test_a_complaint_is_known_before_its_instance_is_loaded_and_ends_with_its_process():
    world = Simulation()
    world.wish(define())
    (key,) = world.instances("starting")
    world.tell(InstanceChecked(instance=key, complaint="no"))
    world.load()
    assert not is_ready(world.actual, strict=True)
    world.end(key)
    world.pass_time(60_000_000_000)
    assert world.instances("starting") == [key]
    world.load()
    assert is_ready(world.actual, strict=True)
