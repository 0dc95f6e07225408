"""One measurement: one scenario on one freshly started server.

A server is started anew for each measurement, so that no scenario sees what another left in memory,
and so that the luck of one start (memory layout, placement on cores) is averaged over the rounds.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from bench.errors import BenchError, LoadFailed, ServerFailed
from bench.loading import closed_loop
from bench.loading.closed_loop import Load, LoadResult
from bench.loading.idle_connections import idle_connections
from bench.loading.open_loop import OpenLoad, run_open_loop
from bench.loading.payload import (
    Encoding,
    Tensor,
    check_answer,
    grpc_message,
    in_sequences,
    infer_request,
    tensor,
)
from bench.loading.v2_client import HttpRequest, V2Client, wait_until
from bench.measuring.disturbance import Disturbance, Reloads, WorkerKill, run_disturbed
from bench.measuring.server import StopReport, running
from bench.measuring.window import Observation, Window, merge
from bench.peers.peer import Control, Peer, Site
from bench.ports import free_ports
from bench.report.results import LibraryCost, Recovery, Remark, Sample
from bench.repositories import write_model
from bench.scenarios import Measure, Scenario
from bench.workshop import scratch_folder

INFER_RPC: Final = "/inference.GRPCInferenceService/ModelInfer"
LIVE: Final = HttpRequest(method="GET", path="/v2/health/live")
INDEX: Final = HttpRequest(
    method="POST",
    path="/v2/repository/index",
    headers={"Content-Type": "application/json"},
    body=b"{}",
)
MODEL_TIMEOUT_NS: Final = 60_000_000_000
SCRIPT_TIMEOUT_S: Final = 120
AFTER_LOAD_S: Final = (
    0.05  # connections close and buffers go back: part of the cost of the requests
)
CALLED: Final = {  # models are loaded by calls
    Measure.INDEX,
    Measure.LOAD,
    Measure.UNLOAD,
    Measure.RELOAD,
    Measure.KILL,
}
DIGITS: Final = Path(__file__).parents[1] / "digits.py"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long one measurement takes."""

    seconds: int
    warmup_seconds: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One sample, and what the end of the server showed."""

    sample: Sample
    remarks: tuple[Remark, ...]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The client's and the server's side of the same window."""

    result: LoadResult
    window: Window
    recovery: Recovery | None = None
    mean_batch: float | None = None


def measure(scenario: Scenario, peer: Peer, *, round_index: int, pace: Pace) -> Measured:
    """Start `peer`, measure `scenario` on it, stop it.

    Raises
    ------
    ServerFailed, LoadFailed
        The server or the load generator did not do its part.
    """
    ends: list[StopReport] = []
    with scratch_folder() as scratch:
        site = _make_site(scenario, peer, scratch)
        match scenario.measure:
            case Measure.START:
                seen = _measure_starts(scenario, peer, site, ends)
            case Measure.LOAD | Measure.UNLOAD:
                seen = _measure_loads(scenario, peer, site, ends)
            case Measure.RELOAD | Measure.KILL:
                seen = _measure_disturbed(scenario, peer, site, ends, pace=pace)
            case Measure.INFER | Measure.OPEN | Measure.LIVE | Measure.INDEX:
                seen = _measure_requests(scenario, peer, site, ends, pace=pace)
    sample = Sample(
        scenario=scenario.name,
        server=peer.name,
        round_index=round_index,
        load=seen.result,
        usage=seen.window.usage,
        foreign_share=seen.window.foreign_share,
        recovery=seen.recovery,
        mean_batch=seen.mean_batch,
    )
    return Measured(sample=sample, remarks=tuple(_remarks(peer.name, ends)))


def library_cost(scenario: Scenario, peer: Peer) -> LibraryCost | None:
    """Time the model's own library without a server; None when the scenario has no such model.

    Where requests are put together, it is one row's part of the largest batch: the least that the
    library takes. What smaller batches cost more is the server's.
    """
    if not any(model.startswith("digits") for model in scenario.models):
        return None
    with scratch_folder() as scratch:
        stored = scratch / "model.joblib"
        _run_digits(peer, "train", stored)
        cpu_ns = float(_run_digits(peer, "cost", stored, str(scenario.batch_rows)))
    return LibraryCost(scenario=scenario.name, server=peer.name, cpu_us=cpu_ns / 1e3)


def _make_site(scenario: Scenario, peer: Peer, scratch: Path) -> Site:
    repository = scratch / "repository"
    repository.mkdir()
    for name, model in scenario.served().items():
        write_model(
            repository / name,
            model,
            layout=peer.layout(model),
            train=lambda path: _train_digits(peer, path),
            versions=scenario.versions,
            instances=scenario.instances,
        )
    http_port, grpc_port, metrics_port = free_ports(3)
    return Site(
        repository=repository,
        scratch=scratch,
        control=Control.EXPLICIT if scenario.measure in CALLED else Control.ALL,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        with_grpc=Encoding.GRPC in scenario.encodings.values(),
    )


def _measure_requests(
    scenario: Scenario, peer: Peer, site: Site, ends: list[StopReport], *, pace: Pace
) -> _Seen:
    with (
        running(
            peer.name, peer.launch(site), port=site.http_port, log=site.scratch / "log", ends=ends
        ) as server,
        contextlib.ExitStack() as held,
    ):
        is_loaded = peer.has_repository and scenario.measure is not Measure.INDEX
        server.wait_ready(*(scenario.served() if is_loaded else ()))
        server.note_segments()
        generate = _generator(scenario, peer.name, site=site)
        held.enter_context(idle_connections(scenario.idle_connections, port=site.http_port))
        warmup_seconds = scenario.warmup_seconds(peer.name, pace.warmup_seconds)  # type: ignore[arg-type]
        if warmup_seconds:
            generate(warmup_seconds)
        tells_batches = scenario.tells_batches and peer.has_statistics
        before = _executed(scenario, server.port) if tells_batches else _Executed()
        observation = Observation.of_running(server.root_pid, peer.roles)
        result = generate(scenario.load_seconds(peer.name, pace.seconds))  # type: ignore[arg-type]
        time.sleep(AFTER_LOAD_S)
        window = observation.close(server.root_pid)
        after = _executed(scenario, server.port) if tells_batches else before
        mean_batch = _mean_batch(before, after)
        return _Seen(result=result, window=window, mean_batch=mean_batch)


class _Executed(msgspec.Struct, frozen=True):
    """What a server has executed since its start."""

    rows: int = 0
    executions: int = 0


def _executed(scenario: Scenario, port: int) -> _Executed:
    """Return what the scenario's one model has executed."""
    (model,) = scenario.served()
    with V2Client(port) as client:
        answer = client.send(HttpRequest(method="GET", path=f"/v2/models/{model}/stats"))
    (row,) = json.loads(answer.body)["model_stats"]
    return _Executed(row["inference_count"], row["execution_count"])


def _mean_batch(before: _Executed, after: _Executed) -> float | None:
    executions = after.executions - before.executions
    return (after.rows - before.rows) / executions if executions else None


def _measure_loads(scenario: Scenario, peer: Peer, site: Site, ends: list[StopReport]) -> _Seen:
    """Load and unload; only the time and the CPU from one of the calls to its end count."""
    (model,) = scenario.models
    with (
        running(
            peer.name, peer.launch(site), port=site.http_port, log=site.scratch / "log", ends=ends
        ) as server,
        V2Client(server.port) as client,
    ):
        server.wait_ready()
        took_ns: list[int] = []
        windows: list[Window] = []
        for call in (_load_until_ready, _unload_until_gone) * scenario.repeats:
            observation = Observation.of_running(server.root_pid, peer.roles)
            call_ns, window = call(client, model), observation.close(server.root_pid)
            if call is _MEASURED_CALL[scenario.measure]:
                took_ns.append(call_ns)
                windows.append(window)
    return _from_times(took_ns, windows)


def _measure_disturbed(
    scenario: Scenario, peer: Peer, site: Site, ends: list[StopReport], *, pace: Pace
) -> _Seen:
    """Load at a constant rate while something is done to the model."""
    (model,) = scenario.models
    assert scenario.tensors is not None, "a disturbed model is one that is asked"
    request = infer_request(tensor(scenario.tensors), scenario.encodings[peer.name])  # type: ignore[index]
    paced = OpenLoad(
        connections=scenario.connections,
        rate=scenario.rate,
        seconds=scenario.load_seconds(peer.name, pace.seconds),  # type: ignore[arg-type]
    )
    with (
        running(
            peer.name, peer.launch(site), port=site.http_port, log=site.scratch / "log", ends=ends
        ) as server,
        V2Client(server.port) as client,
    ):
        server.wait_ready()
        _load_until_ready(client, model)
        server.note_segments()
        run_open_loop(
            request,
            msgspec.structs.replace(paced, seconds=max(1, pace.warmup_seconds)),
            port=server.port,
        )
        if scenario.measure is Measure.RELOAD:
            disturbance: Disturbance = Reloads(client, model, site.repository / model)
        else:
            disturbance = WorkerKill(server.root_pid, peer.roles)
        observation = Observation.of_running(server.root_pid, peer.roles)
        seen = run_disturbed(request, paced, disturbance, port=server.port)
        window = observation.close(server.root_pid)
        return _Seen(result=seen.load, window=window, recovery=seen.recovery)


def _load_until_ready(client: V2Client, model: str) -> int:
    return _call_until(
        partial(client.load, model),
        partial(client.is_model_ready, model),
        what=f"model '{model}' to be ready after its load call",
    )


def _unload_until_gone(client: V2Client, model: str) -> int:
    return _call_until(
        partial(client.unload, model),
        partial(client.is_unloaded, model),
        what=f"model '{model}' to be UNAVAILABLE after its unload call",
    )


def _call_until(call: Callable[[], object], is_done: Callable[[], bool], *, what: str) -> int:
    """Return how many nanoseconds it takes until what is called for is seen."""
    began_ns = time.monotonic_ns()
    call()
    wait_until(is_done, deadline_ns=began_ns + MODEL_TIMEOUT_NS, what=what)
    return time.monotonic_ns() - began_ns


_MEASURED_CALL: Final = {Measure.LOAD: _load_until_ready, Measure.UNLOAD: _unload_until_gone}


def _measure_starts(scenario: Scenario, peer: Peer, site: Site, ends: list[StopReport]) -> _Seen:
    took_ns: list[int] = []
    windows: list[Window] = []
    for _ in range(scenario.repeats):
        launch = peer.launch(site)
        observation = Observation.of_start(peer.roles)
        with running(
            peer.name, launch, port=site.http_port, log=site.scratch / "log", ends=ends
        ) as server:
            server.wait_ready(*scenario.served())
            took_ns.append(time.monotonic_ns() - server.started_ns)
            windows.append(observation.close(server.root_pid))
    return _from_times(took_ns, windows)


def _from_times(took_ns: list[int], windows: list[Window]) -> _Seen:
    window = merge(windows)
    result = closed_loop.from_times(np.array(took_ns, np.int64))
    return _Seen(
        result=msgspec.structs.replace(result, client_cpu_ns=window.harness_cpu_ns), window=window
    )


def _generator(scenario: Scenario, server: str, *, site: Site) -> Callable[[int], LoadResult]:
    """Check one answer; then make the function that applies load for a number of seconds."""

    def spread(seconds: int) -> Load:
        return Load(
            connections=scenario.connections,
            client_threads=scenario.client_threads,
            seconds=seconds,
        )

    if scenario.tensors is None:
        request = INDEX if scenario.measure is Measure.INDEX else LIVE
        return lambda seconds: closed_loop.run_wrk(request, spread(seconds), port=site.http_port)
    sent = tensor(scenario.tensors)
    sent = msgspec.structs.replace(sent, model=next(iter(scenario.served())))
    encoding = next(kind for name, kind in scenario.encodings.items() if name == server)
    if encoding is Encoding.GRPC:
        return _grpc_generator(sent, server, port=site.grpc_port, spread=spread)
    request = infer_request(sent, encoding)
    if scenario.sequences:
        request = in_sequences(request, sequences=scenario.sequences)
    with V2Client(site.http_port) as client:
        check_answer(sent, client.send(request), server=server)
    if scenario.measure is Measure.OPEN:
        return lambda seconds: (
            run_open_loop(
                request,
                OpenLoad(connections=scenario.connections, rate=scenario.rate, seconds=seconds),
                port=site.http_port,
            ).load
        )
    return lambda seconds: closed_loop.run_wrk(request, spread(seconds), port=site.http_port)


def _grpc_generator(
    sent: Tensor, server: str, *, port: int, spread: Callable[[int], Load]
) -> Callable[[int], LoadResult]:
    """As `_generator`. h2load takes a failed call, whose HTTP status is 200 too, for an answer: so
    its length is compared.
    """
    message = grpc_message(sent)
    printed = closed_loop.grpc_answer(message, port=port, path=INFER_RPC)
    if b"grpc-status: 0" not in printed or sent.expected.tobytes() not in printed:
        raise ServerFailed(
            f"{server}: ModelInfer of '{sent.model}' gave no right answer: {printed[-500:]!r}"
        )

    def generate(seconds: int) -> LoadResult:
        result = closed_loop.run_h2load(message, spread(seconds), port=port, path=INFER_RPC)
        if result.bytes_read < result.requests * sent.expected.nbytes:
            answer_bytes = result.bytes_read / result.requests
            raise LoadFailed(f"{server}: answers of {answer_bytes:.0f} bytes hold no output")
        return result

    return generate


def _remarks(server: str, ends: list[StopReport]) -> list[Remark]:
    remarks = []
    for end in ends:
        if end.killed:
            remarks.append(
                Remark(server=server, text=f"had to be killed {end.seconds:.0f} s after SIGTERM")
            )
        elif end.exit_code != 0:
            remarks.append(
                Remark(server=server, text=f"ended with exit code {end.exit_code} after SIGTERM")
            )
        if end.left_segments:
            count = len(end.left_segments)
            remarks.append(
                Remark(server=server, text=f"left {count} segments in shared memory (removed)")
            )
    return remarks


def _train_digits(peer: Peer, path: Path) -> None:
    _run_digits(peer, "train", path)


def _run_digits(peer: Peer, verb: str, path: Path, *more: str) -> str:
    argv = [str(peer.python), str(DIGITS), verb, str(path), *more]
    ran = subprocess.run(
        argv, capture_output=True, text=True, timeout=SCRIPT_TIMEOUT_S, check=False
    )
    if ran.returncode != 0:
        reason = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchError(
            f"{peer.name}: cannot {verb} the digits classifier in its Python: {reason}"
        )
    return ran.stdout
