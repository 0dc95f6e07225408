"""What a memory allocator does for a worker whose model allocates a lot.

    python -m bench.allocators

One server for each allocator and round, in turns. Told are medians over the rounds, the spread of
the throughput, and for memory the resident size of the one worker (RSS) or the proportional size of
the whole server (PSS). The model is made so that `malloc` matters: blocks of 600 to 4,000 bytes,
which Python's own allocator does not serve, made in four threads and freed in another order.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec
import psutil

from bench import workshop
from bench.errors import ServerFailed
from bench.loading.v2_client import HttpRequest, V2Client, wait_until
from bench.measuring.server import Launch, Server, StopReport, running
from bench.peers.mpserve import Mpserve
from bench.ports import free_ports

ALLOCATORS: Final = ("malloc", "tcmalloc", "jemalloc")
ROUNDS: Final = 3
WORK_SECONDS: Final = 3.0
CYCLES: Final = 5  # of load, burst and unload
SETTLE_SECONDS: Final = 12.0  # jemalloc gives back over ten seconds, while it is used
END_SECONDS: Final = 30
MIB: Final = 1 << 20
NAME: Final = "blocks"

CONFIG: Final = """
backend: "python"
input [ { name: "BURST" data_type: TYPE_BOOL dims: 1 } ]
output [ { name: "BLOCKS" data_type: TYPE_INT64 dims: 1 } ]
"""
MODEL: Final = '''
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils


def make(seed, count):
    """Make blocks of odd sizes, free all but each 50th in another order, return those."""
    draw = random.Random(seed)
    blocks = [bytearray(draw.randrange(600, 4000)) for _ in range(count)]
    kept = blocks[::50]
    draw.shuffle(blocks)
    blocks.clear()
    return kept


class TritonPythonModel:
    def initialize(self, args):
        self.pool = ThreadPoolExecutor(4)
        self.kept = list(self.pool.map(lambda seed: make(seed, 25_000), range(4)))

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        burst = bool(pb_utils.get_input_tensor_by_name(request, "BURST").as_numpy()[0])
        count = 25_000 if burst else 500
        made = list(self.pool.map(lambda seed: make(seed, count), range(4)))
        number = np.array([sum(map(len, made))], np.int64)
        return pb_utils.InferenceResponse([pb_utils.Tensor("BLOCKS", number)])
'''


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one allocator; memory in bytes."""

    loaded_rss: int
    after_burst_rss: int
    settled_rss: int
    server_before_pss: int
    server_after_pss: int
    requests_per_s: float
    cpu_ms_per_request: float


@click.command(
    name="python -m bench.allocators", context_settings={"help_option_names": ["-h", "--help"]}
)
def main() -> None:
    """Measure what a memory allocator does for a worker whose model allocates a lot, and print a
    table: all in about three minutes.
    """
    rounds: dict[str, list[Measured]] = {name: [] for name in ALLOCATORS}
    with workshop.lock(), workshop.scratch_folder() as folder:
        repository = _repository(folder)
        for number in range(ROUNDS):
            for name in ALLOCATORS:
                sys.stderr.write(f"round {number + 1} of {ROUNDS}: {name}\n")
                rounds[name].append(_measure(name, repository, folder))
    sys.stdout.write("\n".join(_table(rounds)) + "\n")


def _repository(folder: Path) -> Path:
    repository = folder / "models"
    (repository / NAME / "1").mkdir(parents=True)
    (repository / NAME / "config.pbtxt").write_text(CONFIG)
    (repository / NAME / "1" / "model.py").write_text(MODEL)
    return repository


def _measure(allocator: str, repository: Path, folder: Path) -> Measured:
    (port,) = free_ports(1)
    argv = (
        *(str(Mpserve().python), "-m", "mpserve", "serve"),
        f"--model-repository={repository}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--model-control-mode=explicit",
        f"--allocator={allocator}",
    )
    launch = Launch(argv=argv, folder=workshop.PROJECT)
    ends: list[StopReport] = []
    log = folder / f"{allocator}.log"
    with (
        running("mpserve", launch, port=port, log=log, ends=ends) as server,
        V2Client(port) as client,
    ):
        server.wait_ready()
        return _measure_running(server, client)


def _measure_running(server: Server, client: V2Client) -> Measured:
    _cycle(server, client)  # what only the first load costs is not the allocator's
    before = _server_pss(server)
    for _ in range(CYCLES):
        _cycle(server, client)
    after = _server_pss(server)
    client.load(NAME)
    worker = _worker(server)
    loaded = int(worker.memory_info().rss)
    _ask(client, burst=False)
    cpu_before = _cpu_seconds(worker)
    count, seconds = _work(client, seconds=WORK_SECONDS)
    cpu_seconds = _cpu_seconds(worker) - cpu_before
    _ask(client, burst=True)
    burst = int(worker.memory_info().rss)
    _work(client, seconds=SETTLE_SECONDS, pause_seconds=0.2)
    return Measured(
        loaded_rss=loaded,
        after_burst_rss=burst,
        settled_rss=int(worker.memory_info().rss),
        server_before_pss=before,
        server_after_pss=after,
        requests_per_s=count / seconds,
        cpu_ms_per_request=cpu_seconds / count * 1000,
    )


def _cycle(server: Server, client: V2Client) -> None:
    client.load(NAME)
    _ask(client, burst=True)
    client.unload(NAME)
    deadline_ns = time.monotonic_ns() + END_SECONDS * 1_000_000_000
    wait_until(lambda: not any(_workers(server)), deadline_ns=deadline_ns, what="the worker to end")


def _work(client: V2Client, *, seconds: float, pause_seconds: float = 0.0) -> tuple[int, float]:
    """Send requests one after another; return how many, and how long it took."""
    count, begun = 0, time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        _ask(client, burst=False)
        count += 1
        time.sleep(pause_seconds)
    return count, passed


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _ask(client: V2Client, *, burst: bool) -> None:
    tensor = {"name": "BURST", "datatype": "BOOL", "shape": [1], "data": [burst]}
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = client.send(HttpRequest(method="POST", path=f"/v2/models/{NAME}/infer", body=body))
    if answer.status != 200:
        raise ServerFailed(f"inference gave status {answer.status}: {answer.body[:300]!r}")


def _workers(server: Server) -> Iterator[psutil.Process]:
    for process in psutil.Process(server.root_pid).children(recursive=True):
        if process.name() == f"mps:{NAME}":
            yield process


def _worker(server: Server) -> psutil.Process:
    (worker,) = _workers(server)
    return worker


def _server_pss(server: Server) -> int:
    root = psutil.Process(server.root_pid)
    return sum(
        int(process.memory_full_info().pss) for process in (root, *root.children(recursive=True))
    )


def _table(rounds: dict[str, list[Measured]]) -> Iterator[str]:
    yield (
        f"| allocator | loaded | after a burst | {SETTLE_SECONDS:g} s later "
        "| server, unloaded: first → last | requests/s | CPU per request |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, measured in rounds.items():
        before = _median_mib(measured, lambda one: one.server_before_pss)
        after = _median_mib(measured, lambda one: one.server_after_pss)
        rates = sorted(one.requests_per_s for one in measured)
        yield (
            f"| {name} "
            f"| {_median_mib(measured, lambda one: one.loaded_rss):.0f} MiB "
            f"| {_median_mib(measured, lambda one: one.after_burst_rss):.0f} MiB "
            f"| {_median_mib(measured, lambda one: one.settled_rss):.0f} MiB "
            f"| {before:.1f} → {after:.1f} MiB "
            f"| {statistics.median(rates):.0f} ({rates[0]:.0f} to {rates[-1]:.0f}) "
            f"| {statistics.median(one.cpu_ms_per_request for one in measured):.2f} ms |"
        )


def _median_mib(measured: list[Measured], value: Callable[[Measured], int]) -> float:
    return statistics.median(map(value, measured)) / MIB


if __name__ == "__main__":
    main()
