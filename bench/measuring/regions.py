"""Large tensors in shared memory of a client: what a request costs beside a plain copy.

The model gives back its input, so the least that anyone can do is one copy from region to region.
That copy, and each server over each wire, are timed in turn, so that other load hits all alike.
"""

import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils.shared_memory as shm

from bench.errors import BenchError
from bench.measuring.server import StopReport, running
from bench.peers import PEERS
from bench.peers.peer import Control, Site
from bench.ports import free_ports
from bench.repositories import write_model

MODEL: Final = "identity"
SECONDS: Final = 60.0
COPY: Final = "plain copy"
HANDS_OUT_MEMORY: Final = {"mpserve": ("--allow-client-shm=true",)}  # the peer always does

Ask = Callable[[], object]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one way took: seconds, in the order of the rounds."""

    way: str
    seconds: tuple[float, ...]

    @property
    def least(self) -> float:
        """The quickest round, which other load disturbed least."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The round in the middle."""
        return median(self.seconds)


class Memory:
    """Two regions of one size; a `with` block makes and removes them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys = tuple(f"/mpserve-bench-{os.getpid()}-{name}" for name in ("in", "out"))

    def __enter__(self) -> "Memory":
        self._handles = [shm.create_shared_memory_region(key, key, self.size) for key in self.keys]
        values = np.arange(self.size // 4, dtype=np.float32)
        shm.set_shared_memory_region(self._handles[0], [values])
        self.given, self.answered = (self._array(handle) for handle in self._handles)
        return self

    def __exit__(self, *_: object) -> None:
        del self.given, self.answered
        for handle in self._handles:
            shm.destroy_shared_memory_region(handle)

    def copy(self) -> None:
        """Do what the model's answer needs at least."""
        np.copyto(self.answered, self.given)

    def _array(self, handle: object) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = shm.get_contents_as_numpy(
            handle, np.float32, [self.size // 4]
        )
        return found


def measure_regions(
    servers: Sequence[str], *, size: int, rounds: int, scratch: Path
) -> tuple[Cost, ...]:
    """Time a plain copy and each server over both wires, in turn.

    Raises
    ------
    BenchError
        A server can not be started, or answered something else than it was given.
    """
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(Memory(size))
        ways: dict[str, Ask] = {COPY: memory.copy}
        for name in servers:
            ways |= stack.enter_context(_served(name, memory, scratch / name))
        for way, ask in ways.items():
            memory.answered[:] = 0
            ask()
            if not np.array_equal(memory.answered, memory.given):
                raise BenchError(f"{way}: the answer is not what was sent")
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, ask in ways.items():
                began = time.perf_counter()
                ask()
                taken[way].append(time.perf_counter() - began)
    return tuple(Cost(way=way, seconds=tuple(seconds)) for way, seconds in taken.items())


def table(costs: Sequence[Cost]) -> Iterator[str]:
    """Yield a Markdown table; ratios are those to the plain copy."""
    base = next(cost for cost in costs if cost.way == COPY)
    yield "| way | least ms | to a copy | median ms | to a copy |"
    yield "|---|---:|---:|---:|---:|"
    for cost in costs:
        yield (
            f"| {cost.way} | {cost.least * 1e3:.2f} | {cost.least / base.least:.2f} | "
            f"{cost.median * 1e3:.2f} | {cost.median / base.median:.2f} |"
        )


@contextlib.contextmanager
def _served(name: str, memory: Memory, scratch: Path) -> Iterator[dict[str, Ask]]:
    """Start a server that knows the regions; yield how to ask it."""
    peer = PEERS[name]
    write_model(scratch / "models" / MODEL, MODEL, layout=peer.layout(MODEL), train=Path.touch)
    http_port, grpc_port, metrics_port = free_ports(3)
    site = Site(
        repository=scratch / "models",
        scratch=scratch,
        control=Control.ALL,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        with_grpc=True,
    )
    launch = peer.launch(site)
    launch = msgspec.structs.replace(launch, argv=(*launch.argv, *HANDS_OUT_MEMORY.get(name, ())))
    ends: list[StopReport] = []
    with running(name, launch, port=http_port, log=scratch / "log", ends=ends) as server:
        server.wait_ready(MODEL)
        with tritonclient.http.InferenceServerClient(f"127.0.0.1:{http_port}") as client:
            for key in memory.keys:
                client.register_system_shared_memory(key[1:], key, memory.size)
        with (
            _http(http_port, memory) as over_http,
            _grpc(grpc_port, memory) as over_grpc,
        ):
            yield {f"{name}, HTTP": over_http, f"{name}, gRPC": over_grpc}


@contextlib.contextmanager
def _http(port: int, memory: Memory) -> Iterator[Ask]:
    place = {"shared_memory_byte_size": memory.size}
    regions = [{"shared_memory_region": key[1:], **place} for key in memory.keys]
    shape = [1, memory.size // 4]
    given = {"name": "INPUT0", "datatype": "FP32", "shape": shape, "parameters": regions[0]}
    wanted = {"name": "OUTPUT0", "parameters": regions[1]}
    body = json.dumps({"inputs": [given], "outputs": [wanted]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def ask() -> None:
        connection.request("POST", f"/v2/models/{MODEL}/infer", body)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise BenchError(f"HTTP {answer.status}: {text[:200]!r}")

    with contextlib.closing(connection):
        yield ask


@contextlib.contextmanager
def _grpc(port: int, memory: Memory) -> Iterator[Ask]:
    given = tritonclient.grpc.InferInput("INPUT0", [1, memory.size // 4], "FP32")
    given.set_shared_memory(memory.keys[0][1:], memory.size)
    wanted = tritonclient.grpc.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory(memory.keys[1][1:], memory.size)
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield lambda: client.infer(MODEL, [given], outputs=[wanted])
