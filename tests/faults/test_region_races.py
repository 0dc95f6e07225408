"""Regions that change, shrink and go while many requests use them, over both wires."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.fixtures.grpc_calls import Calls
from tests.fixtures.region_reader import body, write_reader
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

KIB = 1024
SUPERVISOR = "mps supervisor"
NAMES = ("wire_race_large", "wire_race_small")
SIZES = (256 * KIB, 64 * KIB)
PIECE = 1024  # elements that both hold
WHOLE = SIZES[0] // 4  # elements that only the large one holds
CHANGES = 40
UNKNOWN = "Unable to find shared memory region: 'r'"
TOO_SMALL = "Invalid offset + byte size for shared memory region: 'r'"

Told = tuple[int, Any]
"""Status over HTTP, 0 for what gRPC refused; and the sum, or the error."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_reader(tmp_path / "models")


@pytest.fixture
def server(serve, folder, tmp_path) -> Server:
    one = serve(tmp_path / "models", flags=["--allow-client-shm=true", "--frontends=4"])
    wait_until(lambda: "server.ready" in one.log_text, what="all frontends")
    return one


@pytest.fixture
def memories() -> Iterator[list[shared_memory.SharedMemory]]:
    """The large one holds ones, the small one twos."""
    made = [
        shared_memory.SharedMemory(name, create=True, size=size)
        for name, size in zip(NAMES, SIZES, strict=True)
    ]
    for value, one in enumerate(made, 1):
        np.frombuffer(one.buf, dtype=np.float32)[:] = value
    yield made
    for one in made:
        one.close()
        one.unlink()


def register(server: Server, which: int) -> None:
    document = {"key": f"/{NAMES[which]}", "byte_size": SIZES[which]}
    answer = server.post("/v2/systemsharedmemory/region/r/register", document)
    assert answer.status == 200, answer


def unregister(server: Server) -> None:
    assert server.post("/v2/systemsharedmemory/region/r/unregister", {}).status == 200


def ask_http(server: Server, count: int, **more: Any) -> Told:
    answer = server.post("/v2/models/reader/infer", body(count, **more))
    document = answer.json()
    if answer.status != 200:
        return answer.status, document["error"]
    return 200, document["outputs"][0].get("data", [None])[0]


def message(calls: Calls, count: int, *, request_id: str = "x") -> Any:
    place = {
        "shared_memory_region": {"string_param": "r"},
        "shared_memory_byte_size": {"int64_param": count * 4},
    }
    tensor = {"name": "IN", "datatype": "FP32", "shape": [count], "parameters": place}
    return calls.infer_request("reader", tensor, id=request_id)


def ask_grpc(calls: Calls, count: int) -> Told:
    try:
        answer = calls("ModelInfer", message(calls, count))
    except grpc.RpcError as error:
        return 0, error.details()
    return 200, float(np.frombuffer(answer.raw_output_contents[0], dtype=np.float32)[0])


def links(server: Server) -> list[str]:
    return [name for name in server.segments() if "-region." in name]


def pids(server: Server) -> set[int]:
    found = server.processes_named("mps:reader") + [
        one for index in range(4) for one in server.processes_named(f"mps frontend {index}")
    ]
    return {one.pid for one in found}


@contextmanager
def load(server: Server, count: int) -> Iterator[Counter[Told]]:
    """Ask over both wires, in two threads each, until the block ends; count what was told."""
    told: Counter[Told] = Counter()
    over, counting = threading.Event(), threading.Lock()

    def go_on(ask: Callable[[], Told]) -> None:
        while not over.is_set():
            answer = ask()
            with counting:
                told[answer] += 1

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4))
        stack.callback(over.set)
        clients = []
        for _ in range(2):
            channel = stack.enter_context(grpc.insecure_channel(server.grpc_address))
            calls = Calls(channel)
            clients.append(pool.submit(go_on, lambda calls=calls: ask_grpc(calls, count)))
            clients.append(pool.submit(go_on, lambda: ask_http(server, count)))
        yield told
        over.set()
        for client in clients:
            client.result()


def test_a_name_that_changes_its_memory_under_load_never_means_a_bit_of_both(server, memories):
    before = pids(server)
    with load(server, PIECE) as told:
        for change in range(CHANGES):
            register(server, change % 2)
            if change < 2:
                wanted = (200, PIECE * (change + 1.0))
                wait_until(lambda wanted=wanted: wanted in told, what="a good answer")
            if change % 4 == 0:
                assert ask_http(server, PIECE) == (200, PIECE * (change % 2 + 1.0))
            unregister(server)
    found = set(told)
    assert {(200, PIECE * 1.0), (200, PIECE * 2.0)} <= found
    assert found <= {(200, PIECE * 1.0), (200, PIECE * 2.0), (404, UNKNOWN), (0, UNKNOWN)}
    assert pids(server) == before
    wait_until(lambda: not links(server), what="the links to be removed")


def test_a_name_that_comes_back_smaller_is_checked_against_its_new_size(server, memories):
    with load(server, WHOLE) as told:
        for change in range(CHANGES):
            register(server, change % 2)
            if change == 0:
                wait_until(lambda: (200, WHOLE * 1.0) in told, what="a good answer")
            if change % 4 == 1:
                assert ask_http(server, WHOLE) == (400, TOO_SMALL)
            unregister(server)
    allowed = {(200, WHOLE * 1.0)}
    allowed |= {(status, text) for status in (0, 400) for text in (TOO_SMALL,)}
    allowed |= {(status, text) for status in (0, 404) for text in (UNKNOWN,)}
    assert (200, WHOLE * 1.0) in told
    assert set(told) <= allowed
    wait_until(lambda: not links(server), what="the links to be removed")


def test_memory_that_shrinks_and_grows_under_load_ends_nobody(server, memories):
    before = pids(server)
    register(server, 0)
    path = Path("/dev/shm", NAMES[0])
    with load(server, WHOLE) as told, path.open("r+b") as file:
        for _ in range(CHANGES):
            file.truncate(KIB)
            refused = wait_until(lambda: _refused(server), what="a refusal")
            assert "register it again" in refused or "made smaller" in refused
            file.truncate(SIZES[0])
            wait_until(lambda: ask_http(server, WHOLE)[0] == 200, what="an answer")
    for status, text in told:
        if status != 200:
            assert status in {0, 400, 500}
            assert "register it again" in text or "made smaller" in text
    assert pids(server) == before


def _refused(server: Server) -> str:
    status, text = ask_http(server, WHOLE)
    return text if status in {400, 500} else ""


def test_all_frontends_agree_on_what_is_registered(server, memories):
    def over_many(count: int) -> set[Told]:
        with ThreadPoolExecutor(8) as pool:
            return set(pool.map(lambda _: ask_http(server, count), range(48)))

    for which in (0, 1, 0):
        register(server, which)
        assert over_many(PIECE) == {(200, PIECE * (which + 1.0))}
        unregister(server)
        assert over_many(PIECE) == {(404, UNKNOWN)}


def test_a_cancelled_call_keeps_its_region_while_its_model_runs(server, memories, folder):
    register(server, 0)
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda given: given.SerializeToString(),
        )
        future = infer.future(message(calls, PIECE, request_id="wait"), timeout=60)
        wait_until((folder / "began").exists, what="the model to run")
        future.cancel()
        unregister(server)
        assert ask_http(server, PIECE) == (404, UNKNOWN)
        assert links(server)
        (folder / "go").touch()
        wait_until(lambda: not links(server), what="the link to be removed")


def test_a_region_in_use_is_kept_by_the_next_supervisor_too(server, memories, folder):
    register(server, 0)
    supervisor = server.process_named(SUPERVISOR)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(ask_http, server, PIECE, request_id="wait")
        wait_until((folder / "began").exists, what="the model to run")
        supervisor.kill()
        wait_until(
            lambda: server.process_named(SUPERVISOR).pid != supervisor.pid, what="the next one"
        )
        unregister(server)
        assert ask_http(server, PIECE) == (404, UNKNOWN)
        assert links(server)
        (folder / "go").touch()
        assert answer.result() == (200, PIECE * 1.0)
    wait_until(lambda: not links(server), what="the link to be removed")
