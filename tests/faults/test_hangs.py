"""Processes that do not go on: executions without an end, and processes that were stopped."""

import time

import pytest

from tests.fixtures.pace import within
from tests.fixtures.teller import ask, in_flight, tell
from tests.fixtures.waiting import wait_until

FLAGS = ["--log-format=json"]
LIMIT = "MPSERVE_MAX_EXECUTION_SECONDS"


def test_an_execution_that_takes_too_long_is_ended_and_the_worker_replaced(serve, repository):
    repository.add("teller", "m", parameters={LIMIT: "0.5"})
    server = serve(repository.path, flags=FLAGS)
    before = tell(server, "m")
    begun = time.monotonic()
    answer = ask(server, "m", seconds=30)
    assert time.monotonic() - begun < within(2)
    assert answer.status == 503
    wait_until(lambda: tell(server, "m").pid != before.pid)
    (event,) = server.events("worker.overdue")
    assert event["limit_seconds"] == 0.5
    events = server.get("/v2/models/m/ready")
    assert events.status == 200
    assert ask(server, "m", seconds=0.1).status == 200


def test_a_limit_that_is_none_is_refused_with_the_place(serve, repository):
    repository.add("teller", "m", parameters={LIMIT: "soon"})
    server = serve(repository.path, flags=[*FLAGS, "--exit-on-error=false"], wait_ready=False)
    wait_until(lambda: server.get("/v2/health/live").status == 200)
    (row,) = server.index()
    assert f"parameter '{LIMIT}' for m must be a number of seconds" in row["reason"]
    assert "got 'soon'" in row["reason"]


def test_a_stopped_worker_is_replaced_and_its_request_answered(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    before = tell(server, "m")
    with in_flight(server, "m", seconds=20) as running:
        server.process_named("mps:m").suspend()
        assert running.result.status == 503
    wait_until(lambda: tell(server, "m").pid != before.pid)


@pytest.mark.parametrize("title", ["mps:m", "mps frontend 0", "mpserve spawner", "mps supervisor"])
def test_a_process_that_was_stopped_for_a_moment_goes_on(serve, repository, title):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    before = tell(server, "m")
    process = server.process_named(title)
    process.suspend()
    wait_until(lambda: process.status() == "stopped")
    process.resume()
    assert tell(server, "m") == before
    assert process.is_running()


def test_a_stopped_spawner_costs_the_load_that_it_was_asked_for_at_most(serve, repository):
    repository.add("teller", "m")
    repository.add("teller", "n")
    server = serve(
        repository.path, flags=[*FLAGS, "--model-control-mode=explicit", "--load-model=m"]
    )
    before = tell(server, "m")
    server.process_named("mpserve spawner").suspend()
    assert server.load("n").status == 400
    assert server.load("n").status == 200
    assert tell(server, "m") == before


def test_a_stopped_frontend_is_replaced(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=FLAGS)
    before = tell(server, "m")
    frontend = server.process_named("mps frontend 0")
    frontend.suspend()
    wait_until(lambda: not frontend.is_running(), deadline=within(10))
    wait_until(lambda: tell(server, "m") == before)
