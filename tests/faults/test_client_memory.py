"""Clients that spoil the shared memory they registered: nobody but their own requests suffers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.fixtures.region_reader import body, write_reader
from tests.fixtures.waiting import wait_until

MIB = 1024 * 1024
SUPERVISOR = "mps supervisor"


@pytest.fixture
def server(serve, tmp_path: Path):
    write_reader(tmp_path / "models")
    return serve(tmp_path / "models", flags=["--allow-client-shm=true"])


@pytest.fixture
def memory() -> Iterator[shared_memory.SharedMemory]:
    one = shared_memory.SharedMemory("wire_faults", create=True, size=MIB)
    yield one
    one.close()
    one.unlink()


def register(server, size: int = MIB) -> None:
    path = "/v2/systemsharedmemory/region/r/register"
    answer = server.post(path, {"key": "/wire_faults", "byte_size": size})
    assert answer.status == 200, answer


def cut(bytes_left: int = 0) -> None:
    with Path("/dev/shm/wire_faults").open("r+b") as file:
        file.truncate(bytes_left)


def ask(server, document: dict):
    return server.post("/v2/models/reader/infer", document)


def serves(server) -> bool:
    given = {"name": "IN", "datatype": "FP32", "shape": [2], "data": [1, 2]}
    return ask(server, {"inputs": [given]}).status == 200


def test_memory_that_is_cut_off_while_a_model_reads_it_ends_nobody(server, memory, tmp_path):
    np.frombuffer(memory.buf, dtype=np.float32)[:] = 1
    register(server)
    worker = server.process_named("mps:reader")
    folder = tmp_path / "models" / "reader" / "1"
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(ask, server, body(MIB // 4, request_id="wait"))
        wait_until((folder / "began").exists, what="the model to run")
        cut(4096)
        (folder / "go").touch()
    assert answer.result().status == 500
    assert "made smaller while the model used it" in answer.result().json()["error"]
    assert psutil.pid_exists(worker.pid)
    assert server.process_named("mps:reader").pid == worker.pid
    assert serves(server)
    again = ask(server, body(MIB // 4))
    assert again.status == 400
    assert "register it again" in again.json()["error"]


def test_memory_that_was_cut_off_before_the_request_is_refused(server, memory):
    register(server)
    assert ask(server, body(MIB // 4)).status == 200
    cut(100)
    for output in (False, True):
        refused = ask(server, body(MIB // 4, output=output))
        assert refused.status == 400
        assert "register it again" in refused.json()["error"]
    assert serves(server)


def test_what_was_not_cut_off_is_still_served(server, memory):
    np.frombuffer(memory.buf, dtype=np.float32)[:] = 1
    register(server)
    cut(4096)
    answer = ask(server, body(1024))
    assert (answer.status, answer.json()["outputs"][0]["data"]) == (200, [1024.0])


def test_a_request_of_a_dead_worker_leaves_the_region_usable(server, memory, tmp_path):
    register(server)
    folder = tmp_path / "models" / "reader" / "1"
    worker = server.process_named("mps:reader")
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(ask, server, body(4, request_id="wait"))
        wait_until((folder / "began").exists, what="the model to run")
        worker.kill()
    assert answer.result().status == 503
    (folder / "go").touch()
    wait_until(lambda: ask(server, body(4, output=True, request_id="same")).status == 200,
               what="the next worker")  # fmt: skip


def test_a_frontend_that_starts_again_knows_what_is_registered(server, memory):
    register(server)
    frontend = server.process_named("mps frontend 0")
    frontend.kill()

    def is_known() -> bool:
        found = server.process_named("mps frontend 0")
        if found.pid == frontend.pid:
            return False
        try:
            return ask(server, body(4)).status == 200
        except OSError:
            return False

    wait_until(is_known, what="the next frontend")
    assert server.post("/v2/systemsharedmemory/unregister", {}).status == 200
    assert ask(server, body(4)).status == 404


def test_the_next_supervisor_knows_what_is_registered(server, memory):
    register(server)
    supervisor = server.process_named(SUPERVISOR)
    supervisor.kill()
    wait_until(lambda: server.process_named(SUPERVISOR).pid != supervisor.pid, what="the next one")
    assert ask(server, body(4)).status == 200
    again = server.post(
        "/v2/systemsharedmemory/region/r/register", {"key": "/wire_faults", "byte_size": 16}
    )
    assert again.json()["error"] == "shared memory region 'r' already in manager"
    assert server.post("/v2/systemsharedmemory/region/r/unregister", {}).status == 200
    assert ask(server, body(4)).status == 404
