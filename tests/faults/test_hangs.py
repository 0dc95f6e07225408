"""Processes that do not go on: executions without an end, and processes that were stopped."""

import struct
import time

import grpc
import pytest

from tests.fixtures.ensembles import add_ensemble, adding, request
from tests.fixtures.grpc_calls import Calls, refusal
from tests.fixtures.pace import within
from tests.fixtures.scripted import run_script
from tests.fixtures.sequencer import batching, step_request
from tests.fixtures.teller import ask, in_flight, tell
from tests.fixtures.waiting import wait_until

FLAGS = ["--log-format=json"]
LIMIT = "MPSERVE_MAX_EXECUTION_SECONDS"
LIMITED = {LIMIT: "1.5"}  # sound requests take less, also where a machine stands still a while
OVERDUE = (
    "the worker process of model 'm' was killed: an execution took longer than its "
    "max_execution_seconds of 1.5"
)
SLOW = """
class TritonPythonModel:
    def execute(self, requests):
        time.sleep(30)
"""


def test_an_execution_that_takes_too_long_is_ended_and_the_worker_replaced(serve, repository):
    repository.add("teller", "m", parameters=LIMITED)
    server = serve(repository.path, flags=FLAGS)
    before = tell(server, "m")
    begun = time.monotonic()
    answer = ask(server, "m", seconds=30)
    assert time.monotonic() - begun < within(2)
    assert (answer.status, answer.json()["error"]) == (503, OVERDUE)
    wait_until(lambda: tell(server, "m").pid != before.pid)
    (event,) = server.events("worker.overdue")
    assert event["limit_seconds"] == 1.5
    events = server.get("/v2/models/m/ready")
    assert events.status == 200
    assert ask(server, "m", seconds=0.1).status == 200


@pytest.mark.parametrize("transport", ["native", "aio"])
def test_who_met_the_limit_is_told_so_over_grpc(serve, repository, transport):
    repository.add("teller", "m", parameters=LIMITED)
    server = serve(repository.path, environment={"MPSERVE_GRPC_TRANSPORT": transport})
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        tensor = {"name": "SECONDS", "datatype": "FP32", "shape": [1]}
        asked = calls.infer_request("m", tensor, raw=(struct.pack("<f", 30),))
        assert refusal(calls, "ModelInfer", asked) == (grpc.StatusCode.UNAVAILABLE, OVERDUE)


def test_models_and_ensembles_that_asked_are_told_who_met_the_limit(serve, repository):
    for name in ("first", "slow"):
        repository.add("adder", name, parameters=LIMITED)
    repository.write("slow/1/model.py", "import time\n" + SLOW)
    add_ensemble(repository, "e", adding("first", "X", "M"), adding("slow", "M", "Y"))
    repository.add("scripted", "caller")
    repository.add("scripted", "m", parameters=LIMITED)
    server = serve(repository.path)
    answer = server.infer("e", request(1.0))
    told = "in ensemble 'e', " + OVERDUE.replace("'m'", "'slow'")
    assert (answer.status, answer.json()["error"]) == (503, told)
    name, message = run_script(server, "caller", "return call('m', 'time.sleep(30)')")
    assert (name, message.partition("inference: ")[2]) == ("UNAVAILABLE", OVERDUE)


def test_whose_sequence_met_the_limit_is_told_that_it_has_ended(serve, repository):
    repository.add("sequencer", "m", config=batching(), parameters=LIMITED)
    server = serve(repository.path)
    answer = server.infer("m", step_request(7, start=True, seconds=30))
    told = f"{OVERDUE}; the sequences that it held ended with it"
    assert (answer.status, answer.json()["error"]) == (503, told)


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
