"""An instance that has nothing to do sleeps: it is not even woken to look."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.binary_tensor import binary_body
from tests.fixtures.waiting import wait_until

STILL_SECONDS = 2.0  # an instance that looks once a second is never still for so long
SOON_SECONDS = 9.0  # one that gives it up only after ten looks is not yet
SMALL = 16  # floats
MIDDLING = 1 << 15  # 128 KiB: cut from a slab, which is not the first one with FLAGS
LARGE = 1 << 18  # 1 MiB: received into memory that its frontend gives back some seconds later
FLAGS = ["--arena-initial-bytes=65536"]


def switches(pid: int) -> int:
    """Return how often the threads of a process gave up or lost their core."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if "ctxt_switches" in line
    )


class Stillness:
    """For how long a process has not run, as far as was looked."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._switches = switches(pid)
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Look again, and return it."""
        now = switches(self._pid)
        if now != self._switches:
            self._switches, self._since = now, time.monotonic()
        return time.monotonic() - self._since


def wait_until_asleep(pid: int) -> None:
    stillness = Stillness(pid)
    wait_until(
        lambda: stillness.seconds >= STILL_SECONDS,
        deadline=SOON_SECONDS,
        what="the instance to sleep",
    )


def mapped_removed(pid: int) -> list[str]:
    """Return what a process maps of memory that has no name any more."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line for line in maps if "/dev/shm" in line and "(deleted)" in line]


@pytest.mark.parametrize("floats", [SMALL, MIDDLING, LARGE])
def test_an_instance_sleeps_soon_after_its_last_request(serve, repository, floats):
    repository.add("identity", "m")
    server = serve(repository.path, flags=FLAGS)
    body, header_bytes = binary_body(np.zeros(floats, np.float32))
    headers = {"Inference-Header-Content-Length": str(header_bytes)}
    worker = server.process_named("mps:m")
    before = switches(worker.pid)
    for _ in range(3):
        assert server.request("POST", "/v2/models/m/infer", body, headers).status == 200
    assert switches(worker.pid) > before, "what is counted are not its wakes"
    wait_until_asleep(worker.pid)
    wait_until(lambda: not mapped_removed(worker.pid), what="it to unmap what was removed")
    assert server.request("POST", "/v2/models/m/infer", body, headers).status == 200


def test_a_sleeping_instance_lets_go_of_a_dead_frontends_memory(serve, repository):
    repository.add("identity", "m")
    server = serve(repository.path)
    body, header_bytes = binary_body(np.zeros(SMALL, np.float32))
    headers = {"Inference-Header-Content-Length": str(header_bytes)}
    assert server.request("POST", "/v2/models/m/infer", body, headers).status == 200
    worker = server.process_named("mps:m")
    wait_until_asleep(worker.pid)
    server.process_named("mps frontend 0").kill()
    wait_until(lambda: "frontend.died" in server.log_text, what="the death to be seen")
    wait_until(
        lambda: not mapped_removed(worker.pid), what="the instance to unmap what was the dead's"
    )
    wait_until_asleep(worker.pid)
