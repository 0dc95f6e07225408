"""Sequences when instances go, die or are replaced: none goes on with another's state."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from tests.fixtures.sequencer import ask, background, batching, busy, step, step_request
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

LOST = "the worker process that held the sequence ended, and the sequence with it; start it again"


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    folder = tmp_path / "gates"
    folder.mkdir()
    return folder


@pytest.fixture
def server(serve, repository, gates) -> Server:
    repository.add("sequencer", "m", config="instance_group { count: 2 } " + batching())
    return serve(
        repository.path,
        flags=["--model-control-mode=explicit", "--load-model=m"],
        environment={"SEQUENCER_GATES": str(gates)},
    )


def not_started(sequence: int) -> str:
    return (
        f"inference request for sequence {sequence} to model 'm' must specify the START flag on "
        "the first request of the sequence"
    )


def with_instances(server: Server, count: int) -> str:
    config = server.get("/v2/models/m/config").json()
    config["instance_group"][0]["count"] = count
    return json.dumps(config)


def test_a_killed_worker_fails_its_sequences_at_once_and_no_others(server, gates):
    # New sequences take turns: each takes the lowest slot that is free.
    pids = {sequence: step(server, "m", sequence, start=True).pid for sequence in (1, 2)}
    assert len(set(pids.values())) == 2
    with busy(server, gates, "m", 1), background(server, "m", step_request(1)) as (queued,):
        psutil.Process(pids[1]).send_signal(signal.SIGKILL)
        answer = queued.result()
        assert (answer.status, answer.json()) == (503, {"error": LOST})
    answer = ask(server, "m", 1)
    assert (answer.status, answer.json()) == (400, {"error": not_started(1)})
    assert step(server, "m", 2, end=True).sum == 2
    wait_until(lambda: len(server.processes_named("mps:m")) == 2, what="the worker to be back")
    assert step(server, "m", 1, start=True, end=True).sum == 1


def test_an_instance_that_goes_serves_its_sequences_to_their_end(server):
    pids = {sequence: step(server, "m", sequence, start=True).pid for sequence in (1, 2)}
    assert len(set(pids.values())) == 2
    assert server.load("m", config=with_instances(server, 1)).status == 200
    kept = {step(server, "m", sequence, start=True, end=True).pid for sequence in range(11, 15)}
    assert len(kept) == 1  # new ones go to the instance that stays
    for _ in range(3):
        for sequence, pid in pids.items():
            assert step(server, "m", sequence).pid == pid
    for sequence in pids:
        assert step(server, "m", sequence, end=True).sum == 5
    wait_until(
        lambda: [one.pid for one in server.processes_named("mps:m")] == list(kept),
        what="the instance to end with its last sequence",
    )
