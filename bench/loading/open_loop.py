"""Open-loop load: requests at a constant rate, each latency counted from when its request was due.

`native/bench/open_loop.cpp` does the work; it is compiled once, by the C++ compiler that the core
needs too, and anew when its source has changed.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from bench.errors import BenchError, LoadFailed, MissingTool
from bench.loading.closed_loop import LoadResult, from_times, run_counted
from bench.loading.v2_client import HttpRequest
from bench.workshop import PROJECT, WORKSHOP, scratch_folder

SOURCE: Final = PROJECT / "native" / "bench" / "open_loop.cpp"
COMPILE_TIMEOUT_S: Final = 120
LOOPBACK: Final = "127.0.0.1"
COLUMNS: Final = 3  # of an answer
OK: Final = 200


class OpenLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How much to ask for."""

    connections: int
    rate: float  # requests per second
    seconds: int


class OpenResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a client saw; answers are rows of due time and latency (monotonic ns) and status."""

    answers: npt.NDArray[np.int64]
    load: LoadResult


def run_open_loop(
    request: HttpRequest, load: OpenLoad, *, port: int, address: str = LOOPBACK
) -> OpenResult:
    """Send `request` at a constant rate; percentiles count from when each request was due.

    Raises
    ------
    LoadFailed
        No request was answered with 200.
    MissingTool
        There is no C++ compiler.
    """
    program = _program()
    with scratch_folder() as folder:
        body, answers = folder / "request", folder / "answers"
        body.write_bytes(http_bytes(request, host=f"{address}:{port}"))
        argv = [
            *(str(program), address, str(port), str(load.connections), str(load.rate)),
            *(str(load.seconds), str(body), str(answers)),
        ]
        output, cpu_ns = run_counted(argv, seconds=load.seconds)
        rows = np.fromfile(answers, np.int64).reshape(-1, COLUMNS)
    result = parse_open_loop(json.loads(output), rows, client_cpu_ns=cpu_ns)
    return OpenResult(answers=rows, load=result)


def parse_open_loop(
    seen: dict[str, int], answers: npt.NDArray[np.int64], *, client_cpu_ns: int
) -> LoadResult:
    """Read what `open_loop` printed and the answers that it wrote.

    Raises
    ------
    LoadFailed
        No answer has status 200.
    """
    is_good = answers[:, 2] == OK
    bad = int(np.count_nonzero(~is_good))
    counts = {"status": bad, "broken": seen["broken"], "unanswered": seen["unanswered"]}
    kinds = {kind: count for kind, count in counts.items() if count}
    if not is_good.any():
        raise LoadFailed(f"open_loop had no request answered with 200 (errors: {kinds})")
    return msgspec.structs.replace(
        from_times(answers[is_good, 1], seconds=seen["duration_ns"] / 1e9),
        bytes_read=seen["bytes"],
        errors=sum(kinds.values()),
        error_kinds=kinds,
        client_cpu_ns=client_cpu_ns,
    )


def http_bytes(request: HttpRequest, *, host: str) -> bytes:
    """Write one whole HTTP/1.1 request."""
    headers = {"Host": host, **request.headers, "Content-Length": str(len(request.body))}
    lines = [f"{request.method} {request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def _program() -> Path:
    source = SOURCE.read_bytes()
    built = WORKSHOP / "open_loop" / hashlib.sha256(source).hexdigest()[:16]
    if built.exists():
        return built
    compiler = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    if compiler is None:
        raise MissingTool("no C++ compiler found; install g++ or set CXX")
    built.parent.mkdir(parents=True, exist_ok=True)
    partial = built.with_suffix(".partial")
    ran = subprocess.run(
        [compiler, "-std=c++20", "-O2", str(SOURCE), "-o", str(partial)],
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT_S,
        check=False,
    )
    if ran.returncode != 0:
        raise BenchError(f"{compiler} could not build {SOURCE.name}: {ran.stderr[-500:]}")
    partial.replace(built)
    return built
