"""A peer beside mpserve, and how both are asked."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import grpc
import psutil
from google.protobuf import json_format

from bench.peers.peer import Control, Launch, Site
from tests.differential.cases import GrpcCase, HttpCase, StreamCase
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import within
from tests.fixtures.server import free_ports
from tests.fixtures.waiting import wait_until

SECONDS = 20.0


class Outcome(NamedTuple):
    """What a server answered, made comparable."""

    status: str
    content: Any


class Pair(NamedTuple):
    """Where a server answers."""

    http_port: int
    grpc_port: int
    metrics_port: int = 0


Adapt = Callable[[Launch, Site], Launch]
"""Changes how a peer is started: its benchmark's settings favour speed."""


def _as_it_is(launch: Launch, _: Site) -> Launch:
    return launch


class Peer(Protocol):
    """A peer of `bench.peers`."""

    def install(self) -> None:
        """Install it, once."""

    def launch(self, site: Site) -> Launch:
        """Write its settings; return how it is started."""
        ...


@contextlib.contextmanager
def running(
    peer: Peer,
    repository: Path,
    scratch: Path,
    *,
    control: Control,
    more: Sequence[str] = (),
    adapt: Adapt = _as_it_is,
) -> Iterator[Pair]:
    """Run a peer; it is killed at the end, because it would wait for idle connections.

    Parameters
    ----------
    more
        Further arguments.
    """
    peer.install()
    http_port, grpc_port, metrics_port = free_ports(3)
    site = Site(
        repository=repository,
        scratch=scratch,
        control=control,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        with_grpc=True,
    )
    launch = adapt(peer.launch(site), site)
    # What is installed for mpserve is none of the peer's.
    environment = {**os.environ, "PYTHONPATH": "", **launch.environment}
    with (scratch / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            [*launch.argv, *more], cwd=scratch, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: is_ready(http_port), deadline=within(60), what="the peer")
            yield Pair(http_port, grpc_port, metrics_port)
        finally:
            segments = _mapped_by(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)
            for path in segments:
                path.unlink(missing_ok=True)


def _mapped_by(pid: int) -> set[Path]:
    """Return the shared memory of a process and its children, which a kill leaves behind."""
    root = psutil.Process(pid)
    found: set[Path] = set()
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process.pid}/maps").read_text()
            found |= {Path(path) for path in re.findall(r"(/dev/shm/triton_\S+)", text)}
    return found


def is_ready(port: int) -> bool:
    """Tell whether a server says so."""
    try:
        return ask_http(port, HttpCase("ready", "GET", "/v2/health/ready")).status == "200"
    except OSError:
        return False


def ask_http(port: int, case: HttpCase) -> Outcome:
    """Return the status of an HTTP request, and the body as it came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request(case.method, case.path, case.body, dict(case.headers))
        answer = connection.getresponse()
        return Outcome(str(answer.status), answer.read())


def ask_grpc(calls: Calls, case: GrpcCase) -> Outcome:
    """Return what a server answers to a unary call."""
    try:
        answer = calls(case.method, **case.fields)
    except grpc.RpcError as error:
        return Outcome(error.code().name, error.details())
    return Outcome("OK", json_format.MessageToDict(answer))


def ask_stream(calls: Calls, case: StreamCase) -> Outcome:
    """Return how a stream ended, and its answers."""
    messages = [calls.message("ModelInferRequest", **fields) for fields in case.requests]
    answers: list[Any] = []
    try:
        answers.extend(json_format.MessageToDict(one) for one in calls.stream(iter(messages)))
    except grpc.RpcError as error:
        return Outcome(f"{error.code().name}: {error.details()}", answers)
    return Outcome("OK", answers)


Settle = Callable[[Any], Any]
"""What was answered -> the same without what differs from run to run."""
