"""SIGKILL of a worker: the others notice nothing, its own requests are answered, it comes back."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import within
from tests.fixtures.teller import ask, in_flight, tell, teller_bytes
from tests.fixtures.waiting import wait_until

ANSWERED_SECONDS = within(1)
BACK_SECONDS = within(2)
GIVEN_UP_SECONDS = within(15)
EXPLICIT = ["--model-control-mode=explicit", "--load-model=*", "--log-format=json"]


def test_a_killed_worker_under_load_costs_others_nothing_and_comes_back(serve, repository):
    repository.add("teller", "m")
    repository.add("teller", "other")
    server = serve(repository.path, flags=EXPLICIT)
    before = tell(server, "other")
    with (
        ClosedLoop(server, teller_bytes("m"), clients=8) as own,
        ClosedLoop(server, teller_bytes("other"), clients=4) as others,
    ):
        for _ in range(3):
            own.wait_answered()
            worker = server.process_named("mps:m")
            killed_at = time.monotonic()
            worker.kill()
            own.wait_answered(
                that=lambda outcome, pid=worker.pid: (
                    outcome.status == 200 and outcome.value("PID") != pid
                ),
                deadline=BACK_SECONDS,
            )
            others.wait_answered(by_each=3)
            assert max(outcome.seconds for outcome in own.since(killed_at)) < ANSWERED_SECONDS
    assert others.failed == []
    assert {outcome.value("PID") for outcome in others.outcomes} == {before.pid}
    assert max(outcome.seconds for outcome in own.outcomes) < ANSWERED_SECONDS
    assert {outcome.status for outcome in own.failed} <= {503}
    for outcome in own.failed:
        assert b'{"error":"' in outcome.body
    assert tell(server, "other") == before


def test_the_request_that_a_killed_worker_executed_is_answered_at_once(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    with in_flight(server, "m", seconds=30) as request:
        killed_at = time.monotonic()
        server.process_named("mps:m").kill()
        outcome = request.result
        assert time.monotonic() - killed_at < ANSWERED_SECONDS
    assert outcome.status == 503
    assert b"error" in outcome.body


def test_what_waits_for_a_killed_worker_is_answered_by_the_next(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=EXPLICIT)
    with (
        in_flight(server, "m", seconds=30),
        ClosedLoop(server, teller_bytes("m"), clients=4) as load,
    ):
        worker = server.process_named("mps:m")
        load.run_for(0.3)
        assert load.outcomes == [], "the worker was not busy"
        worker.kill()
        load.wait_answered(deadline=BACK_SECONDS)
    assert load.failed == []


def test_other_instances_take_over_at_once(serve, repository):
    repository.add("teller", "m", config="instance_group [ { count: 3 kind: KIND_CPU } ]")
    server = serve(repository.path, flags=EXPLICIT)
    workers = server.processes_named("mps:m")
    assert len(workers) == 3
    with ClosedLoop(server, teller_bytes("m"), clients=8) as load:
        load.wait_answered()
        workers[0].kill()
        workers[1].kill()
        load.wait_answered(by_each=10)
        wait_until(
            lambda: len(server.processes_named("mps:m")) == 3,
            deadline=BACK_SECONDS,
            what="three instances",
        )
    assert len(load.failed) <= 2, "more failed than the two that were being executed"


def test_a_worker_killed_while_it_loads_fails_the_load(serve, repository):
    repository.add("teller", "m", parameters={"load_seconds": "60"})
    repository.add("teller", "other")
    server = serve(repository.path, flags=["--model-control-mode=explicit", "--load-model=other"])
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(server.load, "m")
        server.process_named("mps:m").kill()
        answer = call.result(timeout=within(10))
    assert answer.status == 400
    assert "ended by signal 9 (SIGKILL)" in answer.json()["error"]
    assert tell(server, "other").version == 1
    repository.add("teller", "m")
    assert server.load("m").status == 200


@pytest.mark.parametrize("fault", ["end", "crash"])
def test_a_model_that_dies_again_and_again_is_given_up_with_the_reason(serve, repository, fault):
    """Its first death is in a request, so it has served; from then on it dies at its start."""
    repository.add("teller", "other")
    repository.add_faulty("m", place="execute", fault=fault)
    server = serve(repository.path, flags=EXPLICIT)
    repository.add_faulty("m", place="import", fault=fault)
    question = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}
    answer = server.infer("m", question)
    assert answer.status == 503, "the request that killed it"

    def row() -> dict[str, str]:
        return next(row for row in server.index() if row["name"] == "m")

    wait_until(
        lambda: row()["state"] == "UNAVAILABLE", deadline=GIVEN_UP_SECONDS, what="it to be given up"
    )
    assert {"end": "exit code 7", "crash": "SIGSEGV"}[fault] in row()["reason"]
    assert server.infer("m", question).status == 404
    assert tell(server, "other").version == 1
    assert server.load("m").status == 400, "what was given up is tried again when asked for"
    repository.add("identity", "m")
    assert server.load("m").status == 200
    assert server.infer("m", question).status == 200


def test_a_stopped_worker_holds_up_nobody_else(serve, repository):
    repository.add("teller", "m")
    repository.add("teller", "other")
    server = serve(repository.path, flags=[*EXPLICIT, "--exit-timeout-secs=1"])
    worker = server.process_named("mps:m")
    worker.suspend()
    with ClosedLoop(server, teller_bytes("other"), clients=2) as load:
        load.wait_answered(by_each=5)
        assert server.unload("m").status == 200
        assert ask(server, "m").status == 404
        load.wait_answered(by_each=5)
    assert load.failed == []
    server.expected_exit_code = 1  # the worker does not end by itself
