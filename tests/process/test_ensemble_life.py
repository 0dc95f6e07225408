"""The life of ensembles with their models: loads, unloads, reloads, and what is missing."""

import time

import pytest

from tests.fixtures.closed_loop import ClosedLoop, InFlight, infer_bytes
from tests.fixtures.ensembles import Step, add, add_chain, add_ensemble, adding, request, sums
from tests.fixtures.pace import full_or
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
RELOADS = full_or(20, 6)


def states(server) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row.get("state", ""), row.get("reason", "")) for row in server.index()}


def test_a_load_pulls_the_steps_and_an_unload_leaves_them(serve, repository):
    """Checklist row 70, first half."""
    add_chain(repository)
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("e").status == 200
    assert {name: state for name, (state, _) in states(server).items()} == {
        "e": "READY",
        "first": "READY",
        "second": "READY",
    }
    pid = server.process_named("mps:first").pid
    assert server.load("e").status == 200
    assert server.process_named("mps:first").pid == pid
    assert server.unload("e").status == 200
    assert states(server) == {
        "e": ("UNAVAILABLE", "unloaded"),
        "first": ("READY", ""),
        "second": ("READY", ""),
    }


def test_unload_dependents_takes_the_steps_that_nobody_else_wants(serve, repository):
    """Checklist row 70, second half."""
    add_chain(repository)
    repository.add("adder", "third")
    add_ensemble(repository, "other", adding("second", "X", "Y"))
    add_ensemble(repository, "outer", Step("e", {"X": "X"}, {"Y": "T"}), adding("third", "T", "Y"))
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("third").status == 200  # by its own name
    assert server.load("other").status == 200
    assert server.load("outer").status == 200
    path = "/v2/repository/models/outer/unload"
    assert server.post(path, {"parameters": {"unload_dependents": True}}).status == 200
    assert {name: state for name, (state, _) in states(server).items()} == {
        "outer": "UNAVAILABLE",
        "e": "UNAVAILABLE",
        "first": "UNAVAILABLE",
        "second": "READY",  # `other` needs it
        "third": "READY",  # was asked for
        "other": "READY",
    }


def test_an_ensemble_goes_and_comes_back_with_its_step(serve, repository):
    """Checklist rows 71 and 72."""
    add_chain(repository)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=e"])
    assert server.unload("second").status == 200
    assert states(server)["e"] == ("UNAVAILABLE", "unloaded")
    assert server.get("/v2/models/e/ready").status == 400
    assert server.get("/v2/health/ready").status == 200
    assert server.load("second").status == 200
    assert states(server)["e"] == ("READY", "")
    assert sums(add(server, "e")) == {"Y": 11.0}
    for call in (server.unload, server.load):
        assert call("second").status == 200
    assert server.unload("e").status == 200
    for call in (server.unload, server.load):
        assert call("second").status == 200
    assert states(server)["e"] == ("UNAVAILABLE", "unloaded")


def test_an_ensemble_that_waits_can_be_unloaded(serve, repository):
    add_chain(repository)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=e"])
    for call, name in ((server.unload, "first"), (server.unload, "e"), (server.load, "first")):
        assert call(name).status == 200
    assert states(server)["e"] == ("UNAVAILABLE", "unloaded")


def test_a_request_in_flight_ends_well_when_a_later_step_is_unloaded(serve, repository, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    repository.add("adder", "slow", parameters={"gate": str(gate)})
    repository.add("adder", "after")
    add_ensemble(repository, "e", adding("slow", "X", "T"), adding("after", "T", "Y"))
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=e"])
    with InFlight(server, infer_bytes("e", request(0))) as running:
        wait_until(lambda: "slow works" in server.log_text, what="the first step to run")
        assert server.unload("after").status == 200
        assert add(server, "e").status == 404
        gate.unlink()
        assert running.result.status == 200, running.result
        assert running.result.value("Y") == 2.0
    wait_until(
        lambda: states(server)["after"] == ("UNAVAILABLE", "unloaded"),
        what="the step to be gone when nobody needs it",
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("frontends", [1, 2])
def test_no_request_fails_while_members_are_reloaded(serve, repository, frontends):
    add_chain(repository)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=e", f"--frontends={frontends}"])
    with ClosedLoop(server, infer_bytes("e", request(0)), clients=8) as load:
        load.wait_answered()
        for amount in range(2, RELOADS + 2):
            for name in ("first", "second"):
                repository.write(f"{name}/1/amount.txt", str(10 * amount))
                assert server.load(name).status == 200
            moment = time.monotonic()
            load.wait_answered(by_each=2)  # the first may have begun before
            seen = {outcome.value("Y") for outcome in load.since(moment)}
            assert seen == {20.0 * amount}, "an old version answered after the load"
    assert load.failed == []


def test_a_failed_reload_of_a_member_leaves_the_ensemble_serving(serve, repository):
    add_chain(repository)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=e"])
    repository.write("second/1/refuses.txt", "")
    assert server.load("second").status == 400
    assert sums(add(server, "e")) == {"Y": 11.0}


def test_a_member_that_does_not_fit_any_more_takes_the_ensemble_away(serve, repository):
    add_chain(repository)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=e"])
    good = (repository.path / "second" / "config.pbtxt").read_text()
    repository.write("second/config.pbtxt", good.replace("TYPE_FP32", "TYPE_FP64"))
    assert server.load("second").status == 200
    assert states(server)["e"] == (
        "UNAVAILABLE",
        "Invalid argument: in ensemble e, ensemble tensor T: inconsistent data type: TYPE_FP32 is "
        "inferred from model first while TYPE_FP64 is inferred from model second",
    )
    repository.write("second/config.pbtxt", good)
    assert server.load("second").status == 200
    assert sums(add(server, "e")) == {"Y": 11.0}


# --- loads that can not be -----------------------------------------------------------------------


def refusal(server, name: str) -> str:
    answer = server.load(name)
    assert answer.status == 400, answer
    text: str = answer.json()["error"]
    assert text.startswith(f"load failed for model '{name}': ")
    return text.removeprefix(f"load failed for model '{name}': ").removesuffix("\n")


def test_a_missing_step_is_named_and_waited_for(serve, repository):
    repository.add("adder", "first")
    add_ensemble(repository, "e", adding("first", "X", "T"), adding("later", "T", "Y"))
    server = serve(repository.path, flags=[EXPLICIT])
    assert refusal(server, "e") == (
        "ensemble e contains models that are not available or ambiguous: later"
    )
    repository.add("adder", "later")
    assert server.load("later").status == 200
    assert sums(add(server, "e")) == {"Y": 2.0}


def test_a_step_that_does_not_load_is_told_with_its_reason(serve, repository):
    add_chain(repository)
    repository.write("second/1/refuses.txt", "")
    server = serve(repository.path, flags=[EXPLICIT])
    text = refusal(server, "e")
    start = (
        "ensemble 'e' depends on 'second' which has no loaded version. Model 'second' loading "
        "failed with error: version 1 is at UNAVAILABLE state: Internal: "
    )
    assert text.startswith(start)
    assert "it refuses" in text


def test_a_version_that_is_not_there_is_told(serve, repository):
    repository.add("adder", "first")
    add_ensemble(repository, "e", adding("first", "X", "Y", version=7))
    server = serve(repository.path, flags=[EXPLICIT])
    assert refusal(server, "e") == (
        "ensemble 'e' depends on 'first' whose required version 7 is not loaded."
    )


def test_ensembles_in_a_circle_are_refused(serve, repository):
    """Checklist row 73."""
    add_ensemble(repository, "a", Step("b", {"X": "X"}, {"Y": "Y"}))
    add_ensemble(repository, "b", Step("a", {"X": "X"}, {"Y": "Y"}))
    add_ensemble(repository, "c", Step("a", {"X": "X"}, {"Y": "Y"}))
    server = serve(repository.path, flags=[EXPLICIT])
    assert refusal(server, "a") == "circular dependency between ensembles: a -> b -> a"
    assert refusal(server, "c") == (
        "ensemble 'c' depends on 'a' which is not valid. Model 'a' failed with error: circular "
        "dependency between ensembles: a -> b -> a"
    )


# --- polling -------------------------------------------------------------------------------------


def test_a_polled_repository_brings_and_takes_ensembles_with_their_steps(serve, repository):
    repository.add("adder", "first")
    flags = ["--model-control-mode=poll", "--repository-poll-secs=1"]
    server = serve(repository.path, flags=flags)
    add_ensemble(repository, "e", adding("first", "X", "T"), adding("second", "T", "Y"))
    wait_until(
        lambda: "not available or ambiguous: second" in states(server).get("e", ("", ""))[1],
        what="the ensemble to lack its step",
    )
    repository.add("adder", "second")
    wait_until(lambda: states(server)["e"][0] == "READY", what="the ensemble to serve")
    assert sums(add(server, "e")) == {"Y": 2.0}
    repository.remove("second")
    wait_until(lambda: states(server)["e"][0] == "UNAVAILABLE", what="the ensemble to go")
