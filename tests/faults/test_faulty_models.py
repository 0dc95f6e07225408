"""Models that go wrong wherever they can: a clear error at once, never a hang, others unharmed."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.pace import within
from tests.fixtures.teller import tell
from tests.fixtures.waiting import wait_until

ANSWERED_SECONDS = within(5)
AT_ONCE_SECONDS = within(2)
LOAD_LIMIT_SECONDS = int(within(1))  # in which sound models load, too
EXPLICIT = ["--model-control-mode=explicit", "--load-model=other"]
QUESTION = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}
RAISED = "ValueError: this model is broken on purpose"
LOAD_PLACES = ["import", "auto_complete_config", "initialize"]
FAULTS = {
    "raise": RAISED,
    "leave": "SystemExit: this model leaves",
    "end": "ended with exit code 7",
    "crash": "ended by signal 11 (SIGSEGV)",
}
ROBUST = {"raise", "leave"}  # faults that the process survives


@pytest.fixture
def server(serve, repository):
    repository.add("teller", "other")
    return serve(repository.path, flags=EXPLICIT)


def state_of(server, name: str) -> tuple[str, str]:
    row = next(row for row in server.index() if row["name"] == name)
    return row.get("state", ""), row.get("reason", "")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", LOAD_PLACES)
def test_a_fault_at_load_is_told_and_repairable(server, repository, place, fault):
    other = tell(server, "other")
    repository.add_faulty("m", place=place, fault=fault)
    begun = time.monotonic()
    answer = server.load("m")
    assert time.monotonic() - begun < ANSWERED_SECONDS
    assert answer.status == 400
    error = answer.json()["error"]
    assert error.startswith("load failed for model 'm': version 1 is at UNAVAILABLE state: ")
    assert FAULTS[fault] in error
    state, reason = state_of(server, "m")
    assert state == "UNAVAILABLE"
    assert FAULTS[fault] in reason
    assert server.infer("m", QUESTION).status == 404
    assert server.get("/v2/models/m/ready").status == 400
    assert tell(server, "other") == other
    repository.add("identity", "m")
    assert server.load("m").status == 200
    assert server.infer("m", QUESTION).status == 200


@pytest.mark.parametrize("fault", ["end", "crash"])
def test_what_a_dying_load_wrote_to_stderr_is_told(server, repository, fault):
    repository.add_faulty("m", place="initialize", fault=fault)
    assert "reached initialize" in server.load("m").json()["error"]


def test_the_traceback_of_a_failed_load_is_in_the_log(server, repository):
    repository.add_faulty("m", place="initialize", fault="raise")
    server.load("m")
    wait_until(lambda: 'raise ValueError("this model is broken on purpose")' in server.log_text)
    assert "Traceback (most recent call last)" in server.log_text


@pytest.mark.parametrize("fault", ROBUST)
def test_what_execute_raises_is_told_and_the_worker_lives(server, repository, fault):
    repository.add_faulty("m", place="execute", fault=fault)
    assert server.load("m").status == 200
    worker = server.process_named("mps:m")
    for _ in range(3):
        answer = server.infer("m", QUESTION)
        assert answer.status == 500
        assert FAULTS[fault] in answer.json()["error"]
        assert "Traceback" not in answer.json()["error"]
    assert state_of(server, "m") == ("READY", "")
    assert worker.is_running()
    if fault == "raise":
        wait_until(lambda: 'raise ValueError("this model is broken on purpose")' in server.log_text)


@pytest.mark.parametrize("fault", ["end", "crash"])
def test_a_death_in_execute_is_an_error_and_the_model_comes_back(server, repository, fault):
    repository.add_faulty("m", place="execute", fault=fault)
    assert server.load("m").status == 200
    worker = server.process_named("mps:m")
    begun = time.monotonic()
    answer = server.infer("m", QUESTION)
    assert time.monotonic() - begun < AT_ONCE_SECONDS
    assert answer.status == 503
    assert "error" in answer.json()
    wait_until(
        lambda: [one.pid for one in server.processes_named("mps:m")] not in ([], [worker.pid]),
        deadline=AT_ONCE_SECONDS,
        what="another worker",
    )
    wait_until(lambda: state_of(server, "m") == ("READY", ""))


def test_a_model_that_closes_all_descriptors_holds_up_nobody(serve, repository):
    repository.add("teller", "other")
    repository.add_faulty("m", place="execute", fault="close")
    server = serve(repository.path, flags=["--frontends=1"])
    worker = server.process_named("mps:m")

    def is_replaced():
        begun = time.monotonic()
        server.infer("m", QUESTION)
        assert tell(server, "other").version == 1
        assert time.monotonic() - begun < AT_ONCE_SECONDS
        return not worker.is_running()

    wait_until(is_replaced, what="an answer whose frontend can not be told")
    wait_until(lambda: "its model has closed descriptors that it did not open" in server.log_text)


def test_a_hanging_execute_holds_up_only_its_own_model(serve, repository):
    repository.add("teller", "other")
    repository.add_faulty("m", place="execute", fault="hang")
    server = serve(repository.path, flags=["--exit-timeout-secs=1"])
    connection = Connection(server)
    connection.socket.sendall(infer_bytes("m", QUESTION))
    wait_until(lambda: "reached execute" in server.log_text, what="the model to hang")
    assert tell(server, "other").version == 1
    assert server.get("/v2/health/ready").status == 200
    connection.close()
    server.expected_exit_code = 1  # the model does not let go in time


@pytest.mark.parametrize("place", LOAD_PLACES)
def test_a_hanging_load_is_ended_at_its_time_limit(serve, repository, place):
    repository.add("teller", "other")
    repository.add_faulty("m", place=place, fault="hang")
    limit = f"--model-load-timeout-secs={LOAD_LIMIT_SECONDS}"
    server = serve(repository.path, flags=[*EXPLICIT, limit])
    begun = time.monotonic()
    answer = server.load("m")
    assert time.monotonic() - begun < LOAD_LIMIT_SECONDS + ANSWERED_SECONDS
    assert answer.status == 400
    assert f"loading took longer than {LOAD_LIMIT_SECONDS} s" in answer.json()["error"]
    assert tell(server, "other").version == 1
    wait_until(lambda: not server.processes_named("mps:m"), what="the hanging worker to end")


@pytest.mark.parametrize("place", LOAD_PLACES)
def test_sigterm_during_a_hanging_load_ends_the_server_in_order(serve, repository, place):
    repository.add_faulty("m", place=place, fault="hang")
    server = serve(repository.path, wait_ready=False)
    wait_until(
        lambda: f"reached {place}" in server.log_text, deadline=within(10), what="the load to hang"
    )
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < AT_ONCE_SECONDS


def test_sigterm_during_a_load_call_answers_the_call(server, repository):
    repository.add_faulty("m", place="initialize", fault="hang")
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(server.load, "m")
        wait_until(lambda: "reached initialize" in server.log_text, what="the load to hang")
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < ANSWERED_SECONDS
        answer = call.result(timeout=ANSWERED_SECONDS)
    assert answer.status in {400, 503}
    assert "error" in answer.json()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_finalize_still_ends_the_worker(server, repository, fault):
    repository.add_faulty("m", place="finalize", fault=fault)
    assert server.load("m").status == 200
    assert server.infer("m", QUESTION).status == 200
    assert server.unload("m").status == 200
    wait_until(lambda: state_of(server, "m") == ("UNAVAILABLE", "unloaded"))
    wait_until(lambda: not server.processes_named("mps:m"))
    assert server.load("m").status == 200


def test_a_hanging_finalize_does_not_delay_what_replaces_it(serve, repository):
    repository.add_faulty("m", place="finalize", fault="hang")
    server = serve(
        repository.path,
        flags=["--model-control-mode=explicit", "--load-model=m", "--exit-timeout-secs=1"],
    )
    repository.add("identity", "m")
    begun = time.monotonic()
    assert server.load("m").status == 200
    assert time.monotonic() - begun < ANSWERED_SECONDS
    assert server.infer("m", QUESTION).status == 200
    server.expected_exit_code = 1  # nobody may end it before the exit timeout
