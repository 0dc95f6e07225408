"""Closed-loop load: each of C connections sends its next request when the last one is answered.

`wrk` speaks HTTP/1.1, `h2load` HTTP/2 for gRPC. Both are C programs with one thread per core they
are given, so that the client costs little; what it costs is measured and told.

Notes
-----
A closed loop hides queueing: a slow server is asked less. `wrk` corrects its percentiles for stalls
longer than the mean time between two requests of a connection (its `stats_correct`); `h2load`'s are
the plain percentiles of its log. Requests under way when the time is up are not counted; at most
one per connection, the same for all servers.
"""

import json
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from bench.errors import LoadFailed, MissingTool
from bench.loading.v2_client import HttpRequest
from bench.measuring.parent_death import end_with_parent
from bench.workshop import scratch_folder

PACKAGES: Final = {"wrk": "wrk", "h2load": "nghttp2-client", "nghttp": "nghttp2-client"}
ANSWER_TIMEOUT_S: Final = 20  # an answer that takes longer counts as an error
GRACE_S: Final = 60  # past its time, a load generator is ended
_MARK: Final = "bench-result "
_GRPC_HEADERS: Final = ("-H", "content-type: application/grpc", "-H", "te: trailers")


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How much to ask for."""

    connections: int
    client_threads: int
    seconds: int


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a load generator saw. Errors are those of the connection, answers of 400 and above, and
    time-outs.
    """

    requests: int
    seconds: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    bytes_read: int
    errors: int
    error_kinds: dict[str, int]
    client_cpu_ns: int

    @property
    def requests_per_second(self) -> float:
        """Answered requests per second of the load generator's own time."""
        return self.requests / self.seconds


def require(*programs: str) -> None:
    """Make sure that the load generators are installed.

    Raises
    ------
    MissingTool
        One is not; the message says what installs it.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[program] for program in missing}))
        raise MissingTool(
            f"{', '.join(missing)} not found on PATH; install with "
            f"'apt-get install -y {packages}' or 'python -m bench --install'"
        )


def allow_connections() -> None:
    """Raise the soft limit of open files to the hard one, for us and what we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_wrk(
    request: HttpRequest, load: Load, *, port: int, address: str = "127.0.0.1"
) -> LoadResult:
    """Send the same HTTP/1.1 request over and over.

    Raises
    ------
    LoadFailed
        `wrk` failed or no request was answered.
    """
    with scratch_folder() as folder:
        script = _write_script(folder, request)
        argv = [
            *("wrk", f"-t{load.client_threads}", f"-c{load.connections}", f"-d{load.seconds}s"),
            *(
                "--timeout",
                f"{ANSWER_TIMEOUT_S}s",
                "-s",
                str(script),
                f"http://{address}:{port}{request.path}",
            ),
        ]
        output, cpu_ns = run_counted(argv, seconds=load.seconds)
    return parse_wrk(output, client_cpu_ns=cpu_ns)


def parse_wrk(output: str, *, client_cpu_ns: int) -> LoadResult:
    """Read the line that our script's `done` prints; times are in microseconds.

    Raises
    ------
    LoadFailed
        There is no such line, or it counts no request.
    """
    line = next((one for one in output.splitlines() if one.startswith(_MARK)), None)
    if line is None:
        raise LoadFailed(f"wrk printed no result: {output[-500:]}")
    seen = json.loads(line.removeprefix(_MARK))
    kinds = {kind: count for kind, count in seen["errors"].items() if count}
    if not seen["requests"]:
        raise LoadFailed(
            f"wrk had no request answered within its time (errors: {kinds}); use a longer --seconds"
        )
    return LoadResult(
        requests=seen["requests"],
        seconds=seen["duration_us"] / 1e6,
        p50_us=seen["p50_us"],
        p90_us=seen["p90_us"],
        p99_us=seen["p99_us"],
        max_us=seen["max_us"],
        bytes_read=seen["bytes"],
        errors=sum(kinds.values()),
        error_kinds=kinds,
        client_cpu_ns=client_cpu_ns,
    )


def run_h2load(body: bytes, load: Load, *, port: int, path: str) -> LoadResult:
    """Send the same gRPC message over and over, one stream at a time on each connection.

    Raises
    ------
    LoadFailed
        `h2load` failed or no request was answered.
    """
    with scratch_folder() as folder:
        (folder / "message").write_bytes(body)
        log = folder / "log"
        argv = [
            *("h2load", "-t", str(load.client_threads), "-c", str(load.connections), "-m", "1"),
            *("-D", str(load.seconds), "--log-file", str(log), "-d", str(folder / "message")),
            *(*_GRPC_HEADERS, f"http://127.0.0.1:{port}{path}"),
        ]
        output, cpu_ns = run_counted(argv, seconds=load.seconds)
        rows = log.read_text().splitlines()
    return parse_h2load(output, rows, seconds=load.seconds, client_cpu_ns=cpu_ns)


def parse_h2load(
    output: str, rows: Sequence[str], *, seconds: float, client_cpu_ns: int
) -> LoadResult:
    """Read h2load's summary for the bytes, and its log: start in µs since 1970, HTTP status, µs
    until the answer's end.

    Raises
    ------
    LoadFailed
        The log counts no answered request.
    """
    fields = np.array([row.split("\t")[:3] for row in rows if row], np.int64).reshape(-1, 3)
    is_answered = fields[:, 1] == 200
    if not is_answered.any():
        raise LoadFailed(f"h2load had none of {len(fields)} requests answered with 200")
    failed = int(np.count_nonzero(~is_answered))
    body_bytes = re.search(r"\((\d+)\) data", output)
    return msgspec.structs.replace(
        from_times(fields[is_answered, 2] * 1000, seconds=seconds),
        bytes_read=int(body_bytes[1]) if body_bytes else 0,
        errors=failed,
        error_kinds={"status": failed} if failed else {},
        client_cpu_ns=client_cpu_ns,
    )


def grpc_answer(body: bytes, *, port: int, path: str) -> bytes:
    """Send one gRPC message with `nghttp` and return what it printed: frames, trailers, and the
    answer's bytes.
    """
    with scratch_folder() as folder:
        message = folder / "message"
        message.write_bytes(body)
        argv = ["nghttp", "-v", "-t", str(ANSWER_TIMEOUT_S), *_GRPC_HEADERS, "-d", str(message)]
        url = f"http://127.0.0.1:{port}{path}"
        return subprocess.run(
            [*argv, url], capture_output=True, timeout=GRACE_S, check=False
        ).stdout


def from_times(took_ns: npt.NDArray[np.int64], *, seconds: float | None = None) -> LoadResult:
    """Make a result of single durations; without `seconds`, they followed one another."""
    p50, p90, p99 = np.percentile(took_ns, (50, 90, 99)) / 1e3
    return LoadResult(
        requests=int(took_ns.size),
        seconds=seconds if seconds is not None else float(took_ns.sum()) / 1e9,
        p50_us=float(p50),
        p90_us=float(p90),
        p99_us=float(p99),
        max_us=float(took_ns.max()) / 1e3,
        bytes_read=0,
        errors=0,
        error_kinds={},
        client_cpu_ns=0,
    )


def lua_script(request: HttpRequest, *, body_path: Path) -> str:
    """Write the wrk script of one request. Without a `request` function wrk formats it once, so Lua
    costs nothing; bodies that take turns are formatted before the load begins.
    """
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
        for name, value in request.headers.items()
    )
    method = f"wrk.method = {json.dumps(request.method)}"
    if not request.body:
        return f"{method}\n{headers}\n{_DONE}"
    if request.turns:
        return f"{method}\n{headers}\nlocal path = {json.dumps(str(body_path))}\n{_TURNS}{_DONE}"
    file = f"assert(io.open({json.dumps(str(body_path))}, 'rb'))"
    return f"{method}\n{headers}\nlocal file = {file}\nwrk.body = file:read('*a')\n{_DONE}"


def _write_script(folder: Path, request: HttpRequest) -> Path:
    body = folder / "body"
    body.write_bytes(b"\n".join(request.turns) or request.body)
    script = folder / "request.lua"
    script.write_text(lua_script(request, body_path=body))
    return script


def run_counted(argv: Sequence[str], *, seconds: int) -> tuple[str, int]:
    """Run a load generator; also tell its CPU time in nanoseconds. No other child may be waited for
    meanwhile.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        ran = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            preexec_fn=end_with_parent,  # one system call, no lock
            timeout=seconds + GRACE_S + ANSWER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(
            f"{argv[0]} did not end {GRACE_S + ANSWER_TIMEOUT_S} s past its time"
        ) from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != 0:
        raise LoadFailed(
            f"{argv[0]} ended with {ran.returncode}: {(ran.stderr or ran.stdout)[-500:]}"
        )
    spent_s = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return ran.stdout, int(spent_s * 1e9)


# Before the load begins, wrk asks for a request that it never sends: that takes no turn.
_TURNS: Final = """
local turns = {}
local at = -1
function init(args)
  for line in io.lines(path) do turns[#turns + 1] = wrk.format(nil, nil, nil, line) end
end
function request()
  at = at < #turns and at + 1 or 1
  return turns[math.max(at, 1)]
end
"""
_DONE: Final = f"""
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{_MARK}{{"requests":%d,"duration_us":%d,"bytes":%d,' ..
    '"p50_us":%.1f,"p90_us":%.1f,"p99_us":%.1f,"max_us":%.1f,' ..
    '"errors":{{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}}}\\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""
