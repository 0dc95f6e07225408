"""A load that takes long changes nothing for the other models."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.fixtures.closed_loop import ClosedLoop, Outcome
from tests.fixtures.pace import full_or, within
from tests.fixtures.teller import ask, held_load, tell, teller_bytes
from tests.fixtures.waiting import wait_until

WINDOW_SECONDS = full_or(8, 1)
ROUNDS = int(full_or(4, 3))
CLIENTS = 2
NOISE_SECONDS = within(0.001)  # below that, p99 is the machine's and not the server's


def state_of(server, name: str) -> str:
    return next((row.get("state", "") for row in server.index() if row["name"] == name), "")


def p99(outcomes: list[Outcome]) -> float:
    return statistics.quantiles((outcome.seconds for outcome in outcomes), n=100)[98]


def window(load: ClosedLoop) -> list[Outcome]:
    """Return what came of a while, in which each client was answered."""
    begun = time.monotonic()
    load.run_for(WINDOW_SECONDS)
    load.wait_answered(by_each=2)  # the first may have begun before
    return load.since(begun)


@pytest.fixture
def server(serve, repository):
    repository.add("teller", "other")
    repository.add("teller", "slow", parameters={"load_seconds": "-1"})
    return serve(repository.path, flags=["--model-control-mode=explicit", "--load-model=other"])


@pytest.mark.timeout(180)
def test_other_models_answer_as_fast_as_before(server):
    """Windows with and without a load alternate; the quietest of each kind are compared.

    What else runs on the machine only ever adds to a latency, and not to all windows alike; what a
    load costs it would cost in each of its windows.
    """
    before, during = [], []
    with (
        ThreadPoolExecutor(1) as caller,
        ClosedLoop(server, teller_bytes("other"), clients=CLIENTS) as load,
    ):
        load.wait_answered()
        for _ in range(ROUNDS):
            before.append(window(load))
            with held_load(server, "slow"):
                call = caller.submit(server.load, "slow")
                wait_until(lambda: state_of(server, "slow") == "LOADING", what="the load to begin")
                during.append(window(load))
                assert not call.done()
            assert call.result().status == 200
            assert server.unload("slow").status == 200
    assert load.failed == []
    usual = min(map(p99, before))
    under_load = min(map(p99, during))
    assert under_load <= max(2 * usual, NOISE_SECONDS), (usual, under_load)


def test_everything_else_goes_on_during_a_load(server, repository):
    repository.add("teller", "quick")
    with ThreadPoolExecutor(1) as caller, held_load(server, "slow"):
        call = caller.submit(server.load, "slow")
        wait_until(lambda: state_of(server, "slow") == "LOADING", what="the load to begin")
        assert server.load("quick").status == 200
        assert tell(server, "quick").version == 1
        assert server.unload("quick").status == 200
        assert server.get("/v2/health/live").status == 200
        assert ask(server, "slow").status in {404, 503}
        assert state_of(server, "slow") == "LOADING"
    assert call.result().status == 200
    assert tell(server, "slow").version == 1


def test_several_models_load_at_once(serve, repository):
    names = ["a", "b", "c"]
    for name in names:
        repository.add("teller", name, parameters={"load_seconds": "-1"})
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    with ThreadPoolExecutor(len(names)) as callers:
        with ExitStack() as held:
            for name in names:
                held.enter_context(held_load(server, name))
            answers = callers.map(server.load, names)
            for name in names:
                server.process_named(f"mps:{name}")
            assert {state_of(server, name) for name in names} == {"LOADING"}
        assert [answer.status for answer in answers] == [200] * 3


def test_loads_beyond_the_limit_wait_for_their_turn(serve, repository):
    names = ["a", "b", "c"]
    for name in names:
        repository.add("teller", name, parameters={"load_seconds": "0.3"})
    server = serve(
        repository.path,
        flags=["--model-control-mode=explicit", "--model-load-thread-count=1"],
    )
    begun = time.monotonic()
    with ThreadPoolExecutor(len(names)) as callers:
        assert [answer.status for answer in callers.map(server.load, names)] == [200] * 3
    assert time.monotonic() - begun > 0.9
