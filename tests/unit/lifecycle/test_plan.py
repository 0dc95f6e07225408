"""The plan by examples: each test is a story of one model, told event by event."""

import pytest

from mpserve.errors import ErrorCode
from mpserve.lifecycle.actions import (
    AdmitGeneration,
    KillInstance,
    PublishTable,
    RemoveGeneration,
    RetireGeneration,
    SettleWish,
    StopInstance,
)
from mpserve.lifecycle.events import InstanceEnded, InstanceReady
from mpserve.lifecycle.plan import SHUTDOWN, Limits, next_moment_ns
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.model.config import ModelConfig
from tests.unit.lifecycle.simulation import DIED, SECOND_NS, Simulation, define


def kinds(actions):
    return [type(action).__name__ for action in actions]


# --- loading -------------------------------------------------------------------------------------


def test_a_model_is_loading_until_all_frontends_know_it():
    world = Simulation()
    number = world.wish(define())
    assert world.shown() == {"1": ("LOADING", "")}
    world.load()
    assert world.shown() == {"1": ("READY", "")}
    assert world.answer(number) == []
    world.acknowledge()
    assert world.answer(number) == [None]


def test_the_first_instance_completes_the_configuration_before_the_others_start():
    world = Simulation()
    world.wish(define(count=3, auto_complete=True))
    assert world.started() == [("1", 1, 0)]
    world.load()
    assert world.started() == [("1", 1, 0), ("1", 1, 1), ("1", 1, 2)]
    starts = [action.complete_config for action in world.actions if "Start" in kinds([action])[0]]
    assert starts == [True, False, False]


def test_a_complete_configuration_lets_all_instances_start_at_once():
    world = Simulation()
    world.wish(define(count=3))
    assert world.started() == [("1", 1, 0), ("1", 1, 1), ("1", 1, 2)]


def test_what_waits_for_its_turn_is_given_up_when_the_server_stops():
    world = Simulation(limits=Limits(loading_versions=1))
    numbers = [world.wish(define(name)) for name in "abc"]
    assert world.actual.waiting == {"b", "c"}
    world.stop()
    assert world.actual.waiting == frozenset()
    for name, number in zip("bc", numbers[1:], strict=True):
        world.acknowledge()
        assert [one.message for one in world.answer(number)] == [SHUTDOWN.message], name


def test_versions_wait_for_their_turn_to_load():
    world = Simulation(limits=Limits(loading_versions=2))
    world.wish(define("a", versions="123"))
    world.wish(define("b"))
    assert [action.name for action in world.issued(AdmitGeneration)] == ["a", "a"]
    world.load(world.instances("starting", name="a")[0], name="a")
    assert [action.name for action in world.issued(AdmitGeneration)] == ["a", "a", "a"]
    world.load(name="a")
    assert [action.name for action in world.issued(AdmitGeneration)] == ["a", "a", "a", "b"]


def test_nothing_of_a_load_is_seen_before_its_last_version_has_loaded():
    world = Simulation()
    world.wish(define(versions="12"))
    world.load(world.instances("starting")[0])
    assert world.shown() == {"1": ("LOADING", ""), "2": ("LOADING", "")}
    world.load(world.instances("starting")[0])
    assert world.shown() == {"1": ("READY", ""), "2": ("READY", "")}


def test_a_failed_first_load_shows_the_reason_and_unloads_the_other_version():
    world = Simulation()
    number = world.wish(define(versions="12"))
    first, second = world.instances("starting")
    world.refuse(second)
    assert world.answer(number) == []
    world.load(first)
    (failure,) = world.answer(number)
    reason = "Internal: ValueError: bad weights"
    assert failure.code is ErrorCode.LOAD_FAILED
    assert failure.message == (
        f"load failed for model 'm': version 2 is at UNAVAILABLE state: {reason};\n"
    )
    assert world.shown() == {"1": ("UNLOADING", ""), "2": ("UNAVAILABLE", reason)}
    world.end_stopping()
    assert world.shown() == {"1": ("UNAVAILABLE", "unloaded"), "2": ("UNAVAILABLE", reason)}


def test_every_failed_version_is_in_the_answer():
    world = Simulation()
    number = world.wish(define(versions="12"))
    for key in world.instances("starting"):
        world.refuse(key)
    (failure,) = world.answer(number)
    assert failure.message.count("is at UNAVAILABLE state") == 2


def test_a_worker_that_dies_while_loading_fails_the_load_with_the_way_it_died():
    world = Simulation()
    number = world.wish(define())
    world.end(world.instances("starting")[0])
    (failure,) = world.answer(number)
    assert DIED.message in failure.message


def test_one_failing_instance_ends_the_others_of_its_version():
    world = Simulation()
    world.wish(define(count=2))
    first, second = world.instances("starting")
    world.refuse(first)
    assert [action.instance for action in world.issued(KillInstance)] == [second]


def test_a_load_is_tried_again_as_often_as_wanted():
    world = Simulation(limits=Limits(retries=1))
    number = world.wish(define())
    world.refuse(world.instances("starting")[0])
    assert world.answer(number) == []
    world.refuse(world.instances("starting")[0])
    assert len(world.started()) == 2
    assert len(world.answer(number)) == 1


def test_a_load_that_takes_too_long_is_ended():
    world = Simulation(limits=Limits(load_timeout_ns=10 * SECOND_NS))
    number = world.wish(define())
    assert next_moment_ns(world.wanted, world.actual) == 10 * SECOND_NS
    world.pass_time(10 * SECOND_NS)
    world.end_stopping()
    (failure,) = world.answer(number)
    assert "longer than 10 s" in failure.message


def test_a_failed_load_is_tried_again_when_someone_wishes_again():
    world = Simulation()
    world.wish(define())
    world.refuse(world.instances("starting")[0])
    number = world.serve(define())
    assert world.answer(number) == [None]
    assert world.shown() == {"1": ("READY", "")}


# --- reload --------------------------------------------------------------------------------------


def test_a_repeated_wish_for_the_same_content_does_nothing():
    world = Simulation()
    world.serve(define())
    before = len(world.actions)
    number = world.wish(define())
    assert world.answer(number) == [None]
    assert kinds(world.actions[before:]) == ["BeginOperation", "CommitOperation", "SettleWish"]


def test_the_old_generation_serves_until_every_frontend_knows_the_new_one():
    world = Simulation()
    world.serve(define(content="old"))
    world.wish(define(content="new"))
    assert world.shown() == {"1": ("READY", "")}
    world.load()
    assert world.issued(RetireGeneration) == []
    world.acknowledge()
    assert [action.generation for action in world.issued(RetireGeneration)] == [1]
    assert world.issued(RemoveGeneration) == []
    world.end_stopping()
    assert [action.generation for action in world.issued(RemoveGeneration)] == [1]
    assert world.shown() == {"1": ("READY", "")}


def test_a_failed_reload_changes_nothing():
    world = Simulation()
    world.serve(define(content="old"))
    published = world.published()
    number = world.wish(define(content="broken"))
    world.refuse(world.instances("starting")[0])
    assert world.answer(number)[0].code is ErrorCode.LOAD_FAILED
    assert world.shown() == {"1": ("READY", "")}
    assert world.published() == published
    assert [one.generation for one in world.actual.models["m"].generations] == [1]


def test_only_changed_and_new_versions_are_loaded():
    world = Simulation()
    world.serve(define(versions="12"))
    world.serve(define(versions="123"))
    assert world.started() == [("1", 1, 0), ("2", 2, 0), ("3", 3, 0)]


def test_versions_that_are_not_wanted_any_more_leave_with_the_swap():
    world = Simulation()
    world.serve(define(versions="12"))
    world.wish(define(versions="23"))
    assert world.shown()["1"] == ("READY", "")
    world.load()
    assert world.shown()["1"] == ("UNLOADING", "")
    world.acknowledge()
    world.end_stopping()
    assert world.shown() == {
        "1": ("UNAVAILABLE", "unloaded"),
        "2": ("READY", ""),
        "3": ("READY", ""),
    }


def test_a_wish_that_comes_during_a_load_is_carried_out_after_it():
    world = Simulation()
    first = world.wish(define(content="one"))
    second = world.wish(define(content="two"))
    assert world.started() == [("1", 1, 0)]
    world.load()
    world.acknowledge()
    assert world.answer(first) == [None]
    world.load()
    world.acknowledge()
    assert world.answer(second) == [None]


# --- instances -----------------------------------------------------------------------------------


def test_more_instances_are_added_to_the_same_generation():
    world = Simulation()
    world.serve(define(count=1))
    number = world.serve(define(count=3))
    assert world.started() == [("1", 1, 0), ("1", 1, 1), ("1", 1, 2)]
    assert world.answer(number) == [None]
    assert world.issued(StopInstance) == []


def test_fewer_instances_end_when_they_are_idle_and_the_others_stay():
    world = Simulation()
    world.serve(define(count=3))
    world.serve(define(count=1))
    assert len(world.issued(StopInstance)) == 2
    assert [key.index for key in world.instances("ready")] == [0]
    assert world.issued(RetireGeneration) == []


def test_a_renamed_group_starts_and_ends_nothing():
    world = Simulation()
    world.serve(define(group="old", count=2))
    world.serve(define(group="new", count=2))
    assert len(world.started()) == 2
    assert world.issued(StopInstance) == []


def test_the_configuration_shows_the_new_count():
    world = Simulation()
    world.serve(define(count=1))
    world.serve(define(count=2))
    (record,) = world.actual.models["m"].generations
    assert '"count":2' in record.config_json


def test_an_instance_that_can_not_be_added_leaves_the_others_and_says_so():
    world = Simulation()
    world.serve(define(count=1))
    number = world.wish(define(count=2))
    world.refuse(world.instances("starting")[0])
    (failure,) = world.answer(number)
    assert "version 1 is at READY state: Internal: ValueError: bad weights" in failure.message
    assert [key.index for key in world.instances("ready")] == [0]
    assert world.instances("starting", "resting", "given_up") == []


# --- unload --------------------------------------------------------------------------------------


def test_unloading_waits_for_the_frontends_and_then_for_the_workers():
    world = Simulation()
    world.serve(define())
    number = world.wish(None)
    assert world.shown() == {"1": ("UNLOADING", "")}
    assert world.issued(RetireGeneration) == []
    world.acknowledge()
    assert world.answer(number) == [None]
    assert len(world.issued(StopInstance)) == 1
    world.end_stopping()
    assert world.shown() == {"1": ("UNAVAILABLE", "unloaded")}


def test_what_failed_and_is_not_wanted_any_more_counts_as_unloaded():
    world = Simulation()
    world.wish(define(versions="12"))
    for key in world.instances("starting"):
        world.refuse(key)
    assert world.shown()["2"][1].startswith("Internal")
    world.serve(define(versions="1"))
    assert world.shown() == {"1": ("READY", ""), "2": ("UNAVAILABLE", "unloaded")}


def test_unloading_what_is_not_there_succeeds():
    world = Simulation()
    number = world.wish(None)
    assert world.answer(number) == [None]


def test_a_model_can_be_loaded_again_while_it_drains():
    world = Simulation()
    world.serve(define())
    world.wish(None)
    world.acknowledge()
    world.wish(define())
    assert world.shown() == {"1": ("LOADING", "")}
    world.load()
    world.acknowledge()
    world.end_stopping()
    assert world.shown() == {"1": ("READY", "")}


# --- deaths --------------------------------------------------------------------------------------


def test_a_dead_worker_is_started_again_at_once():
    world = Simulation()
    world.serve(define())
    world.end(world.instances("ready")[0])
    assert world.started() == [("1", 1, 0), ("1", 1, 0)]
    assert world.shown() == {"1": ("READY", "")}


def test_a_worker_that_dies_again_has_to_rest():
    world = Simulation()
    world.serve(define())
    for _ in range(2):
        world.end(world.instances("ready", "starting")[0])
    assert world.instances("resting") != []
    moment_ns = next_moment_ns(world.wanted, world.actual)
    assert moment_ns == RestartPolicy().first_delay_ns
    world.pass_time(moment_ns)
    assert world.instances("starting") != []


def test_a_model_whose_workers_die_too_often_becomes_unavailable_with_the_reason():
    world = Simulation(policy=RestartPolicy(max_deaths=3))
    world.serve(define())
    for _ in range(3):
        world.end(world.instances("ready", "starting")[0])
        world.pass_time(SECOND_NS)
    state, reason = world.shown()["1"]
    assert state == "UNAVAILABLE"
    assert reason == "Unavailable: not restarted after dying too often: it died"
    world.acknowledge()
    assert world.actual.models["m"].generations == ()


def test_a_model_goes_on_with_the_instances_that_do_not_die():
    world = Simulation(policy=RestartPolicy(max_deaths=1))
    world.serve(define(count=2))
    world.end(world.instances("ready")[0])
    assert world.shown() == {"1": ("READY", "")}
    assert len(world.instances("given_up")) == 1


@pytest.mark.parametrize("content", ["x", "changed"])
def test_a_wish_starts_again_what_was_given_up(content):
    world = Simulation(policy=RestartPolicy(max_deaths=1))
    world.serve(define())
    world.end(world.instances("ready")[0])
    world.acknowledge()
    world.serve(define(content=content))
    assert world.shown() == {"1": ("READY", "")}


def test_a_version_given_up_in_the_moment_of_a_wish_is_started_again():
    world = Simulation(policy=RestartPolicy(max_deaths=1))
    world.serve(define(versions="12"))
    key = world.instances("ready")[0]
    world.note(InstanceEnded(instance=key, failure=DIED, at_ns=0))
    world.serve(define(versions="123"))
    assert world.shown() == {"1": ("READY", ""), "2": ("READY", ""), "3": ("READY", "")}


def test_a_withdrawn_worker_that_rests_asks_for_no_moment():
    world = Simulation()
    world.serve(define(content="old"))
    world.wish(define(content="new"))
    for _ in range(2):
        world.end(world.instances("ready", "starting")[0])
    world.load(world.instances("starting")[-1])
    assert world.instances("resting") != []
    assert next_moment_ns(world.wanted, world.actual) is None


def test_a_draining_worker_that_dies_is_not_started_again():
    world = Simulation()
    world.serve(define(count=2))
    world.wish(None)
    world.end(world.instances("ready")[0])
    world.acknowledge()
    world.end_stopping()
    assert len(world.started()) == 2
    assert world.actual.models["m"].generations == ()


# --- publishing and the end ----------------------------------------------------------------------


def test_changes_of_one_moment_share_one_table():
    world = Simulation()
    world.wish(define("a"))
    world.wish(define("b"))
    before = world.published()
    for key in [*world.instances("starting", name="a"), *world.instances("starting", name="b")]:
        world.note(InstanceReady(instance=key, config=ModelConfig(), config_json="{}"))
    world.run()
    assert len(world.published()) == len(before) + 1
    assert world.issued(PublishTable)[-1].names == {"a", "b"}


def test_a_server_that_ends_gives_up_loads_and_unloads_everything():
    world = Simulation()
    world.serve(define("a"))
    number = world.wish(define("b"))
    world.stop()
    world.acknowledge()
    for name in "ab":
        world.end_stopping(name=name)
    assert world.answer(number) == [SHUTDOWN]
    assert all(not model.generations for model in world.actual.models.values())


def test_a_server_that_ends_starts_nothing_again():
    world = Simulation()
    world.serve(define(count=2))
    world.stop()
    for key in world.instances("ready", "stopping"):
        world.end(key)
    assert len(world.started()) == 2


def test_a_wish_that_comes_to_a_server_that_ends_loads_nothing():
    world = Simulation()
    world.stop()
    world.wish(define())
    assert world.started() == []
    assert len(world.issued(SettleWish)) == 1
