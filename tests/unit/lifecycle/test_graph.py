"""Ensembles in the plan, by examples: each test is a story told event by event."""

import json

import msgspec
import pytest

from mpserve.lifecycle.actions import (
    BeginOperation,
    PublishTable,
    RetireGeneration,
    StartInstance,
    WithdrawEnsemble,
)
from mpserve.lifecycle.events import GenerationsHeld
from mpserve.lifecycle.graph import unneeded_with
from mpserve.lifecycle.index import is_ready
from mpserve.lifecycle.plan import Limits
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.event import Origin
from mpserve.model.signature import Signature
from tests.unit.lifecycle.simulation import Simulation, define

ANYTHING = Signature(open_inputs=True, open_outputs=True)
ABSENT = "ensemble {} contains models that are not available or ambiguous: {}"


def ensemble(name, *members, content="x", version=""):
    """Return an ensemble whose steps hand one tensor along."""
    steps = tuple(
        Step(model=member, version=version, inputs={"i": f"t{at}"}, outputs={"o": f"t{at + 1}"})
        for at, member in enumerate(members)
    )
    return ModelDefinition(
        name=name,
        directory=f"/models/{name}",
        format=ConfigFormat.TRITON,
        runtime="",
        config=ModelConfig(ensemble=Ensemble(steps=steps), signature=ANYTHING),
        auto_complete=False,
        versions=(
            VersionDefinition(
                version="1", directory=f"/models/{name}/1", fingerprint=f"{content}{members}"
            ),
        ),
    )


def open_model(name, **more):
    """Return a model that takes and gives anything; what fits is the matter of `test_fit`."""
    definition = define(name, **more)
    config = msgspec.structs.replace(definition.config, signature=ANYTHING)
    return msgspec.structs.replace(definition, config=config)


# --- loading -------------------------------------------------------------------------------------


def test_an_ensemble_waits_for_its_models_and_comes_in_their_table():
    world = Simulation()
    world.wish(open_model("a"))
    number = world.wish(ensemble("e", "a"))
    assert world.shown(name="e") == {"1": ("LOADING", "")}
    world.load(name="a")
    assert world.shown(name="e") == {"1": ("READY", "")}
    assert world.published()[-1:] == [world.actual.table_number]
    world.acknowledge()
    assert world.answer(number) == [None]
    assert world.started(name="e") == []


def test_an_ensemble_takes_no_place_among_the_loads():
    world = Simulation(limits=Limits(loading_versions=1))
    for definition in (ensemble("e", "b"), open_model("a"), ensemble("e", "b"), open_model("b")):
        world.wish(definition)
    assert world.shown(name="e")["1"] == (
        "UNAVAILABLE",
        "Invalid argument: " + ABSENT.format("e", "b"),
    )
    world.load(name="a")
    world.load(name="b")
    assert world.shown(name="e") == {"1": ("READY", "")}


def test_a_missing_model_fails_the_load_at_once_and_its_coming_brings_the_ensemble():
    world = Simulation()
    world.serve(open_model("a"))
    number = world.wish(ensemble("e", "a", "b", "c"))
    (failure,) = world.answer(number)
    assert failure.message == f"load failed for model 'e': {ABSENT.format('e', 'b, c')}\n"
    world.serve(open_model("b"))
    assert world.shown(name="e")["1"][0] == "UNAVAILABLE"
    world.serve(open_model("c"))
    assert world.shown(name="e") == {"1": ("READY", "")}
    assert is_ready(world.actual, strict=True)


def test_a_model_that_failed_is_told_with_its_reason_and_waited_for():
    world = Simulation()
    number = world.wish(open_model("a"))
    of_ensemble = world.wish(ensemble("e", "a"))
    world.refuse(world.instances("starting", name="a")[0])
    world.acknowledge()
    assert world.answer(number)[0] is not None
    assert world.answer(of_ensemble)[0].message == (
        "load failed for model 'e': ensemble 'e' depends on 'a' which has no loaded version. Model "
        "'a' loading failed with error: version 1 is at UNAVAILABLE state: Internal: ValueError: "
        "bad weights;\n"
    )
    world.serve(open_model("a"))
    assert world.shown(name="e") == {"1": ("READY", "")}


def test_a_version_that_is_not_served_is_told():
    world = Simulation()
    world.serve(open_model("a", versions="12"))
    (failure,) = world.answer(world.wish(ensemble("e", "a", version="3")))
    assert "depends on 'a' whose required version 3 is not loaded." in failure.message


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_nobody_waits_in_a_circle(names):
    world = Simulation()
    definitions = {"a": ensemble("a", "b"), "b": ensemble("b", "a")}
    for name in names:
        number = world.wish(definitions[name])
    (failure,) = world.answer(number)
    assert "circular dependency between ensembles: " in failure.message
    assert all(action.name not in definitions for action in world.issued(WithdrawEnsemble))


def test_an_ensemble_of_a_broken_ensemble_says_what_is_wrong_with_that():
    world = Simulation()
    world.wish(ensemble("inner", "gone"))
    (failure,) = world.answer(world.wish(ensemble("outer", "inner")))
    assert failure.message == (
        "load failed for model 'outer': ensemble 'outer' depends on 'inner' which is not valid. "
        f"Model 'inner' failed with error: {ABSENT.format('inner', 'gone')}\n"
    )
    world.serve(open_model("gone"))
    assert world.shown(name="outer") == {"1": ("READY", "")}


# --- members that go and come --------------------------------------------------------------------


def serving(*members):
    world = Simulation()
    for member in members:
        world.serve(open_model(member))
    world.serve(ensemble("e", *members))
    return world


def test_an_ensemble_goes_in_the_table_in_which_its_model_goes_and_comes_back_with_it():
    world = serving("a", "b")
    tables = len(world.published())
    world.wish(None, name="b")
    assert len(world.published()) == tables + 1
    assert world.shown(name="e") == {"1": ("UNAVAILABLE", "unloaded")}
    (withdrawn,) = world.issued(WithdrawEnsemble)
    assert (withdrawn.origin, withdrawn.misfit.is_absence) == (Origin.CLIENT, True)
    world.acknowledge()
    world.end_stopping(name="b")
    assert is_ready(world.actual, strict=True)
    world.wish(open_model("b"))
    world.load(name="b")
    assert world.shown(name="e") == {"1": ("READY", "")}


def test_an_ensemble_that_was_unloaded_by_name_stays_away():
    world = serving("a")
    world.wish(None, name="e")
    world.acknowledge()
    world.wish(None, name="a")
    world.acknowledge()
    world.serve(open_model("a"))
    assert world.shown(name="e") == {"1": ("UNAVAILABLE", "unloaded")}


def test_a_reload_of_a_model_changes_nothing_about_the_ensemble():
    world = serving("a")
    before = world.actual.models["e"]
    world.serve(open_model("a", content="new"))
    assert world.actual.models["e"] == before


def decoupled_model(name, **more):
    definition = open_model(name, **more)
    config = msgspec.structs.replace(definition.config, decoupled=True)
    return msgspec.structs.replace(definition, config=config)


def test_an_ensemble_answers_as_often_as_its_models_do_from_the_same_table_on():
    world = Simulation()
    world.serve(decoupled_model("a"))
    for name, member in (("e", "a"), ("outer", "e")):
        definition = msgspec.structs.replace(ensemble(name, member), config_json="{}")
        world.serve(definition)

    def told():
        records = [world.actual.models[name].generations[-1] for name in ("e", "outer")]
        return {record.config.decoupled for record in records} | {
            json.loads(record.config_json)["model_transaction_policy"]["decoupled"]
            for record in records
        }

    assert told() == {True}
    before = len(world.issued(PublishTable))
    world.serve(open_model("a", content="new"))
    assert told() == {False}
    first, *_ = world.issued(PublishTable)[before:]
    assert first.names == {"a", "e", "outer"}
    world.serve(decoupled_model("a", content="old"))
    assert told() == {True}


def test_a_model_that_is_given_up_takes_the_ensemble_with_it():
    world = Simulation(policy=RestartPolicy(max_deaths=2))
    world.serve(open_model("a"))
    world.serve(ensemble("e", "a"))
    for _ in range(2):
        (key,) = world.instances("ready", name="a")
        world.end(key)
        world.load(name="a")
    state, reason = world.shown(name="e")["1"]
    assert state == "UNAVAILABLE"
    assert "depends on 'a' which has no loaded version. Model 'a' loading failed" in reason
    (withdrawn,) = world.issued(WithdrawEnsemble)
    assert withdrawn.origin is Origin.CRASH


def test_a_failed_reload_of_the_ensemble_leaves_it_serving_and_is_tried_again():
    world = serving("a")
    (failure,) = world.answer(world.wish(ensemble("e", "a", "b")))
    assert failure is not None
    assert world.shown(name="e") == {"1": ("READY", "")}
    world.serve(open_model("b"))
    begun = [action.wish.definition for action in world.issued(BeginOperation)]
    assert begun[-1] == ensemble("e", "a", "b")
    assert world.actual.models["e"].definition == ensemble("e", "a", "b")


# --- held ----------------------------------------------------------------------------------------


def test_a_generation_is_not_retired_while_a_request_of_an_ensemble_holds_it():
    world = serving("a")
    (record,) = world.actual.models["a"].generations
    world.note(GenerationsHeld(generations=frozenset({record.generation})))
    world.wish(None, name="a")
    world.acknowledge()
    held = [action for action in world.issued(RetireGeneration) if action.name == "a"]
    assert held == []
    world.tell(GenerationsHeld(generations=frozenset()))
    assert [action.generation for action in world.issued(RetireGeneration)][-1:] == [
        record.generation
    ]


def test_a_held_generation_without_a_worker_is_retired_all_the_same():
    world = Simulation(policy=RestartPolicy(max_deaths=5))
    world.serve(open_model("a"))
    world.serve(ensemble("e", "a"))
    (record,) = world.actual.models["a"].generations
    world.note(GenerationsHeld(generations=frozenset({record.generation})))
    world.wish(None, name="a")
    world.acknowledge()
    world.end(record.instances[0].key)
    retired = [action.generation for action in world.issued(RetireGeneration)]
    assert record.generation in retired
    assert world.issued(StartInstance)[-1].instance.generation == record.generation


# --- unload_dependents ---------------------------------------------------------------------------


def wishes(*rows):
    wanted = Wanted()
    for number, (definition, is_pulled) in enumerate(rows, 1):
        wish = Wish(number=number, name=definition.name, definition=definition, is_pulled=is_pulled)
        wanted = wanted.with_wish(wish)
    return wanted


def test_models_that_were_pulled_and_that_nobody_else_uses_are_not_needed_any_more():
    wanted = wishes(
        (ensemble("outer", "inner", "named"), False),
        (ensemble("inner", "deep", "shared"), True),
        (ensemble("other", "shared"), False),
        (open_model("deep"), True),
        (open_model("shared"), True),
        (open_model("named"), False),
    )
    assert unneeded_with("outer", wanted) == ("inner", "deep")
    assert unneeded_with("deep", wanted) == ()
    assert unneeded_with("unknown", wanted) == ()


def test_a_model_that_two_members_share_goes_with_the_last_of_them():
    wanted = wishes(
        (ensemble("outer", "left", "right"), False),
        (ensemble("left", "shared"), True),
        (ensemble("right", "shared"), True),
        (open_model("shared"), True),
    )
    assert sorted(unneeded_with("outer", wanted)) == ["left", "right", "shared"]
