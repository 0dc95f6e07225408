"""What an unload and an end give back: all of it."""

import contextlib
import http.client
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.fixtures.memory import pss_bytes
from tests.fixtures.pace import full_or, within
from tests.fixtures.server import ANSWER_SECONDS, STANDBY
from tests.fixtures.waiting import wait_until

MEBIBYTE = 1 << 20
HOARD = 200
WARM_CYCLES = 3
CYCLES = int(full_or(50, 15))
LARGE = 1 << 20  # elements; 4 MiB
LARGE_REQUESTS = 2
CONNECTIONS = 12
MAY_GROW = 5 * MEBIBYTE
QUESTION = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}


@pytest.mark.timeout(300)
def test_load_and_unload_again_and_again_leave_no_memory_behind(serve, repository):
    repository.add("hoarder", "m", parameters={"mebibytes": str(HOARD)})
    server = serve(repository.path, flags=["--model-control-mode=explicit"])

    def cycle() -> None:
        assert server.load("m").status == 200
        answer = server.infer("m", QUESTION)
        assert answer.json()["outputs"][0]["data"] == [HOARD]
        assert server.unload("m").status == 200
        wait_until(lambda: not server.processes_named("mps:m"), what="the worker to end")

    cycle()
    assert server.load("m").status == 200
    assert pss_bytes(server.processes()) > HOARD * MEBIBYTE, "the model's pages are not real"
    assert server.unload("m").status == 200
    for _ in range(WARM_CYCLES):
        cycle()
    segments = server.segments()
    before = settled_pss(server)
    for _ in range(CYCLES):
        cycle()
    after = settled_pss(server)
    sys.stdout.write(f"{(after - before) / MEBIBYTE:.1f} MiB more after {CYCLES} cycles\n")
    assert after - before < MAY_GROW, f"{(after - before) / MEBIBYTE:.1f} MiB more"
    wait_until(lambda: len(server.segments()) <= len(segments), what="the arenas to be removed")


def settled_pss(server) -> int:
    """Return what the server takes once nobody maps a removed segment: for a moment, some do."""

    def maps_what_is_gone(process) -> bool:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        return any("/dev/shm" in line and "(deleted)" in line for line in maps.splitlines())

    wait_until(
        lambda: not any(map(maps_what_is_gone, server.processes())), what="the unmapping to be done"
    )
    server.process_named(STANDBY)  # takes its part, too, once it is there
    return pss_bytes(server.processes())


def test_large_requests_give_their_shared_memory_back(serve, repository):
    """Arenas that grew for a large tensor shrink again, though small requests go on."""
    repository.add("identity", "m")
    server = serve(repository.path)
    assert send(server, elements=4) == 4
    segments = server.segments()

    def has_shrunk() -> bool:
        assert send(server, elements=4) == 4
        return server.segments() == segments

    def has_grown() -> bool:  # it may have shrunk again before a slow test looks
        assert send(server, elements=LARGE) == LARGE
        return server.segments() > segments

    for _ in range(LARGE_REQUESTS):
        wait_until(has_grown, deadline=within(10), what="the arenas to grow")
        wait_until(has_shrunk, deadline=within(10), what="the segments to be removed")


def send(server, *, elements: int) -> int:
    """Send a tensor; return how many elements came back."""
    tensor = {"name": "INPUT0", "shape": [elements], "datatype": "FP32", "data": [0.5] * elements}
    answer = server.infer("m", {"inputs": [tensor]})
    assert answer.status == 200, answer.body[:200]
    return len(answer.json()["outputs"][0]["data"])


def test_open_connections_do_not_keep_the_memory_of_large_answers(serve, repository):
    """A frontend's allocator keeps some of it for the next answer, whoever gets that."""
    repository.add("identity", "m")
    server = serve(repository.path, flags=["--frontends=1"])
    frontend = server.process_named("mps frontend 0")
    values = np.random.default_rng(0).random(LARGE, np.float32).tolist()
    fields = {"name": "INPUT0", "shape": [LARGE], "datatype": "FP32", "data": values}
    body = orjson.dumps({"inputs": [fields]})
    with contextlib.ExitStack() as held:

        def ask() -> int:
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_SECONDS)
            held.enter_context(contextlib.closing(client))
            client.request("POST", "/v2/models/m/infer", body)
            answer = client.getresponse()
            assert answer.status == 200
            return len(answer.read())

        answer_bytes = ask()
        before = pss_bytes([frontend])
        for _ in range(CONNECTIONS):
            ask()
        grown = pss_bytes([frontend]) - before
    assert grown < CONNECTIONS * answer_bytes // 3, f"{grown / MEBIBYTE:.0f} MiB more"
