"""`python -m bench load`: load one model of a V2 server that runs already."""

import json
import socket
import sys
from pathlib import Path

import click
import msgspec

from bench.errors import BenchError, ServerFailed
from bench.loading import closed_loop
from bench.loading.closed_loop import Load, LoadResult
from bench.loading.open_loop import OpenLoad, run_open_loop
from bench.loading.v2_client import HttpRequest, V2Client
from bench.measuring.any_server import (
    Address,
    ask_inputs,
    infer_request_for,
    parse_shapes,
    parse_url,
)
from bench.measuring.cpu import TreeUsage
from bench.measuring.window import Observation
from bench.report.table import duration, three_digits


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: a body, or values made from the model's metadata."""

    model: str
    binary: bool
    body: Path | None
    shapes: tuple[str, ...]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How much, and for how long; without a rate as fast as it is answered."""

    connections: int
    threads: int
    seconds: int
    rate: float | None


@click.command(name="load")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Of the server.")
@click.option("--model", required=True, help="Name of the model.")
@click.option("--connections", type=click.IntRange(1, 100_000), default=16, show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 86_400), default=5, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests per second, whatever is answered (open loop).  [default: closed loop]",
)
@click.option("--shape", "shapes", multiple=True, help="NAME=1,16; for open extents. Repeatable.")
@click.option("--binary", is_flag=True, help="Send and ask for binary tensors.")
@click.option(
    "--body", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON to send."
)
@click.option("--pid", type=int, help="First process of the server: adds CPU per request.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def load_command(  # noqa: PLR0913  # one parameter per option
    *,
    url: str,
    model: str,
    connections: int,
    threads: int,
    seconds: int,
    rate: float | None,
    shapes: tuple[str, ...],
    binary: bool,
    body: Path | None,
    pid: int | None,
    as_json: bool,
) -> None:
    """Load one model of a V2 server that runs already, and print rate, latency and CPU.

    The request is made from the model's metadata, with random values, or read from --body. Closed
    loop: each connection sends its next request when the last one is answered. Open loop (--rate):
    a latency counts from when its request was due, so stalls are not hidden. Exit code 1: it
    failed or an answer was an error; 2: something has to be installed or asked for differently.
    """
    loaded = Loaded(model=model, binary=binary, body=body, shapes=shapes)
    pace = Pace(connections=connections, threads=threads, seconds=seconds, rate=rate)
    try:
        result, usage = _measure(parse_url(url), loaded, pace, pid=pid)
    except OSError as error:  # no such host, or the body can not be read
        raise BenchError(str(error)) from error
    click.echo(_json(result, usage) if as_json else _text(result, usage))
    sys.exit(1 if result.errors else 0)


def _measure(
    address: Address, loaded: Loaded, pace: Pace, *, pid: int | None
) -> tuple[LoadResult, TreeUsage | None]:
    if pace.rate is None:
        closed_loop.require("wrk")
    host = socket.gethostbyname(address.host)
    with V2Client(address.port, host=host) as client:
        request = _request(client, loaded)
        answer = client.send(request)
    if answer.status != 200:
        raise ServerFailed(f"a request gave status {answer.status}: {answer.body[:300]!r}")
    observation = Observation.of_running(pid, ()) if pid else None
    if pace.rate is None:
        closed = Load(
            connections=pace.connections, client_threads=pace.threads, seconds=pace.seconds
        )
        result = closed_loop.run_wrk(request, closed, port=address.port, address=host)
    else:
        paced = OpenLoad(connections=pace.connections, rate=pace.rate, seconds=pace.seconds)
        result = run_open_loop(request, paced, port=address.port, address=host).load
    return result, observation.close(pid).usage if observation and pid else None


def _request(client: V2Client, loaded: Loaded) -> HttpRequest:
    if loaded.body is None:
        inputs = ask_inputs(client, loaded.model, parse_shapes(loaded.shapes))
        return infer_request_for(loaded.model, inputs, binary=loaded.binary)
    return HttpRequest(
        method="POST",
        path=f"/v2/models/{loaded.model}/infer",
        headers={"Content-Type": "application/json"},
        body=loaded.body.read_bytes(),
    )


def _text(result: LoadResult, usage: TreeUsage | None) -> str:
    lines = [
        f"requests     {result.requests} in {result.seconds:.2f} s",
        f"requests/s   {three_digits(result.requests_per_second)}",
        *(
            f"{name:12} {duration(us)}"
            for name, us in (
                ("p50", result.p50_us),
                ("p90", result.p90_us),
                ("p99", result.p99_us),
                ("max", result.max_us),
            )
        ),
        f"errors       {result.errors} {result.error_kinds or ''}".rstrip(),
        f"client CPU   {duration(result.client_cpu_ns / result.requests / 1e3)} per request",
    ]
    if usage is not None:
        lines.append(f"server CPU   {duration(usage.cpu_ns / result.requests / 1e3)} per request")
        lines.append(f"server PSS   {usage.pss_bytes / (1 << 20):.1f} MiB")
    return "\n".join(lines)


def _json(result: LoadResult, usage: TreeUsage | None) -> str:
    document = {
        "load": msgspec.to_builtins(result),
        "requests_per_second": result.requests_per_second,
        "server": msgspec.to_builtins(usage),
    }
    return json.dumps(document, indent=1)
