"""A model with sequences is reloaded: those that go on keep their state, new ones begin anew."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fixtures.ensembles import Step, add_ensemble
from tests.fixtures.pace import full_or, within
from tests.fixtures.sequencer import ask, background, batching, busy, step, step_request, told
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

EXPLICIT = ["--model-control-mode=explicit", "--load-model=m"]
POLL = ["--model-control-mode=poll", "--repository-poll-secs=1"]
STEPS = 6
CLIENTS = 6
CHANGES = count()
RELOADS = int(full_or(20, 5))


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    folder = tmp_path / "gates"
    folder.mkdir()
    return folder


@pytest.fixture
def started(serve, repository, gates):
    """Start a server with the model `m`, whose sequences last."""

    def start(*more: str, flags=EXPLICIT, config: str = "", **marks) -> Server:
        repository.add("sequencer", "m", config=config + batching(**marks))
        return serve(
            repository.path, flags=[*flags, *more], environment={"SEQUENCER_GATES": str(gates)}
        )

    return start


def reload(server: Server, repository) -> None:
    repository.write("m/1/other.py", f"NUMBER = {next(CHANGES)}\n")
    assert server.load("m").status == 200


def workers(server: Server) -> set[int]:
    return {one.pid for one in server.processes_named("mps:m")}


def not_started(server: Server, sequence: int) -> bool:
    answer = ask(server, "m", sequence)
    return answer.status == 400 and "must specify the START flag" in answer.json()["error"]


def test_sequences_go_on_where_they_began_and_new_ones_in_the_new(started, repository):
    server = started()
    old = {sequence: step(server, "m", sequence, start=True).pid for sequence in (1, 2)}
    reload(server, repository)
    new = step(server, "m", 3, start=True).pid
    assert new not in old.values()
    for _ in range(3):
        for sequence, pid in {**old, 3: new}.items():
            assert step(server, "m", sequence).pid == pid
    assert [step(server, "m", sequence, end=True).sum for sequence in (1, 2, 3)] == [5, 5, 5]
    wait_until(lambda: workers(server) == {new}, what="the old worker to end")
    assert not_started(server, 1)
    rows = [(row["version"], row["state"]) for row in server.index()]
    assert rows == [("1", "READY")]


def test_several_generations_keep_theirs(started, repository):
    server = started()
    pids = {}
    for sequence in (1, 2, 3):
        pids[sequence] = step(server, "m", sequence, start=True).pid
        reload(server, repository)
    assert len(set(pids.values())) == 3
    assert workers(server) >= set(pids.values())
    for sequence, pid in pids.items():
        assert step(server, "m", sequence).pid == pid
        assert step(server, "m", sequence, end=True).sum == 3
        wait_until(lambda pid=pid: pid not in workers(server), what="the worker to end")


def test_a_sequence_that_is_started_again_begins_in_the_new(started, repository):
    server = started()
    old = step(server, "m", 1, 10, start=True).pid
    reload(server, repository)
    new = step(server, "m", 1, 1, start=True)
    assert (new.pid != old, new.sum) == (True, 1)
    again = step(server, "m", 1, 1, end=True)
    assert (again.pid, again.sum) == (new.pid, 2)


def test_what_is_idle_for_too_long_is_let_go(started, repository):
    server = started(idle_us=300_000)
    old = step(server, "m", 1, start=True).pid
    reload(server, repository)
    wait_until(lambda: old not in workers(server), what="the old worker to end")
    assert not_started(server, 1)


def test_what_goes_on_for_too_long_is_cut_off(started, repository):
    server = started(f"--model-drain-timeout-secs={within(1):.0f}")
    old = step(server, "m", 1, start=True).pid
    reload(server, repository)
    assert step(server, "m", 1).pid == old
    wait_until(lambda: old not in workers(server), what="the old worker to end")
    assert not_started(server, 1)
    assert step(server, "m", 1, start=True, end=True).sum == 1


def test_requests_that_run_or_wait_are_answered(started, repository, gates):
    server = started(strategy="oldest { max_candidate_sequences: 1 }")
    with (
        busy(server, gates, "m", 1) as held,
        background(server, "m", step_request(1), step_request(2, start=True)) as queued,
    ):
        reload(server, repository)
        held.let_go()
        assert told(queued[0].result()).sum == 2
        assert step(server, "m", 1, end=True).sum == 3
        assert told(queued[1].result()).sum == 1  # it waited for the slot of the other
        assert step(server, "m", 2, end=True).sum == 2


def test_a_killed_old_worker_takes_only_its_sequences_along(started, repository):
    server = started()
    step(server, "m", 1, start=True)
    (old,) = server.processes_named("mps:m")
    reload(server, repository)
    step(server, "m", 2, start=True)
    old.kill()
    wait_until(lambda: not_started(server, 1), what="the sequence to be gone")
    assert step(server, "m", 2, end=True).sum == 2
    assert len(workers(server)) == 1


def test_a_new_default_version_leaves_sequences_where_they_are(started, repository):
    """Whoever asks for no version goes on in the one where the sequence began."""
    server = started(flags=POLL)
    old = step(server, "m", 1, start=True).pid
    repository.add("sequencer", "m", versions=(1, 2), config=batching())
    wait_until(
        lambda: ("2", "READY") in {(row["version"], row["state"]) for row in server.index()},
        what="the new version to serve",
    )
    new = step(server, "m", 2, start=True).pid
    assert new != old
    assert step(server, "m", 1).pid == old
    # Who names a version asks for that one: 1 is not served, and 2 does not know the sequence.
    answer = server.post("/v2/models/m/versions/1/infer", step_request(1))
    assert (answer.status, b"is not at ready state" in answer.body) == (503, True), answer
    answer = server.post("/v2/models/m/versions/2/infer", step_request(1))
    assert (answer.status, b"START flag" in answer.body) == (400, True), answer
    assert step(server, "m", 1, end=True).sum == 3
    wait_until(lambda: workers(server) == {new}, what="the old version to end")


def test_a_reload_may_do_away_with_sequences(started, repository):
    server = started()
    old = step(server, "m", 1, start=True).pid
    repository.add("sequencer", "m")
    assert server.load("m").status == 200
    assert step(server, "m", 1).pid == old
    assert ask(server, "m", 2).status == 200  # the new one knows no sequences
    assert step(server, "m", 1, end=True).sum == 3
    wait_until(lambda: old not in workers(server), what="the old worker to end")


def test_an_unload_answers_what_was_sent_and_refuses_the_rest(started, repository, gates):
    server = started()
    step(server, "m", 2, start=True)
    reload(server, repository)
    with busy(server, gates, "m", 1) as held, background(server, "m", step_request(1)) as (queued,):
        assert server.unload("m").status == 200
        for sequence in (1, 2):
            assert ask(server, "m", sequence).status == 404
        held.let_go()
        assert told(queued.result()).sum == 2
    wait_until(lambda: not workers(server), what="all workers to end")


def test_an_ensemble_goes_on_with_its_members_sequences(started, repository):
    repository.add("sequencer", "m", config=batching())
    tensors = ("VALUE", "SECONDS")
    add_ensemble(
        repository,
        "e",
        Step("m", {one: one for one in tensors}, {"SUM": "SUM", "PID": "PID", "ROWS": "ROWS"}),
    )
    repository.write(
        "e/config.pbtxt",
        """platform: "ensemble" max_batch_size: 4
        input [ { name: "VALUE" data_type: TYPE_INT64 dims: [ 1 ] },
                { name: "SECONDS" data_type: TYPE_FP32 dims: [ 1 ] } ]
        output [ { name: "SUM" data_type: TYPE_INT64 dims: [ 1 ] },
                 { name: "PID" data_type: TYPE_INT64 dims: [ 1 ] },
                 { name: "ROWS" data_type: TYPE_STRING dims: [ 1 ] } ]
        ensemble_scheduling { step [ { model_name: "m" model_version: -1
          input_map { key: "VALUE" value: "VALUE" } input_map { key: "SECONDS" value: "SECONDS" }
          output_map { key: "SUM" value: "SUM" } output_map { key: "PID" value: "PID" }
          output_map { key: "ROWS" value: "ROWS" } } ] }""",
    )
    server = started("--load-model=e")
    old = step(server, "e", 1, start=True).pid
    reload(server, repository)
    assert step(server, "e", 2, start=True, end=True).pid != old
    assert step(server, "e", 1).pid == old
    assert step(server, "e", 1, end=True).sum == 3
    wait_until(lambda: old not in workers(server), what="the old worker to end")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("client", "address"), [(triton_http, "address"), (triton_grpc, "grpc_address")]
)
def test_under_reloads_no_sequence_loses_a_step(started, repository, client, address):
    """With Triton's clients: each runs one sequence after the other while the model is reloaded."""
    server = started("--frontends=2", config="instance_group { count: 2 } ")
    stop = threading.Event()
    done: list[int] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [
            pool.submit(run_sequences, client, getattr(server, address), number, stop, done)
            for number in range(CLIENTS)
        ]
        try:
            for _ in range(RELOADS):
                reload(server, repository)
                before = len(done)
                wait_until(
                    lambda before=before: len(done) >= before + 2 * CLIENTS or failed(runs),
                    what="sequences to end",
                )
        finally:
            stop.set()
        for run in runs:
            run.result()
    wait_until(lambda: len(workers(server)) == 2, what="the old workers to end")


def run_sequences(client, address: str, number: int, stop: threading.Event, done: list) -> None:
    """Run sequences whose every sum says that no step of it was lost or done elsewhere."""
    with client.InferenceServerClient(address) as connection:
        inputs = []
        for name, datatype, array in (
            ("VALUE", "INT64", np.ones((1, 1), np.int64)),
            ("SECONDS", "FP32", np.zeros((1, 1), np.float32)),
        ):
            inputs.append(client.InferInput(name, [1, 1], datatype))
            inputs[-1].set_data_from_numpy(array)
        for round_number in count():
            if stop.is_set():
                return
            for one in range(1, STEPS + 1):
                answer = connection.infer(
                    "m",
                    inputs,
                    sequence_id=1 + number + round_number * CLIENTS,
                    sequence_start=one == 1,
                    sequence_end=one == STEPS,
                )
                assert answer.as_numpy("SUM").item() == one
            done.append(number)


def failed(runs: list) -> bool:
    """Tell whether a client has given up: its sequence went wrong."""
    return any(run.done() for run in runs)
