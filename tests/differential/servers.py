"""Both servers on one repository, and how their answers are asked for and made comparable."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import grpc
import psutil
from google.protobuf import json_format

from bench.peers.peer import Control, Site
from bench.peers.triton import Triton
from tests.differential.requests import GrpcCase, HttpCase, StreamCase
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.ports import free_ports
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import WORDS, tensors, write_triton

SECONDS = 20.0
IDENTITY = dedent(
    """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                wanted = set(request.requested_output_names())
                outputs = [
                    pb_utils.Tensor(one.name().replace("IN", "OUT", 1), one.as_numpy())
                    for one in request.inputs()
                ]
                responses.append(
                    pb_utils.InferenceResponse([one for one in outputs if one.name() in wanted])
                )
            return responses
    """
)
SEVERAL = dedent(
    """
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                sender = request.get_response_sender()
                given = pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy()
                for number in range(int(given[0])):
                    output = pb_utils.Tensor("NUMBER", np.array([number], dtype=np.int32))
                    sender.send(pb_utils.InferenceResponse([output]))
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return None
    """
)
TIMES = {"ns", "last_inference", "lastInference"}  # members that differ from run to run
HIDDEN = "..."


class Outcome(NamedTuple):
    """What a server answered, made comparable."""

    status: str
    content: Any


class Pair(NamedTuple):
    """Where the two servers answer."""

    http_port: int
    grpc_port: int
    metrics_port: int


def write_models(root: Path) -> Path:
    """Write the models that both serve; the peer's stub knows no BF16."""
    four = ("TYPE_FP32", [4])
    write_triton(
        root / "m",
        source=IDENTITY,
        config="max_batch_size: 8\n"
        + tensors("input", ("INPUT0", *four))
        + tensors("output", ("OUTPUT0", *four), more='label_filename: "labels.txt"'),
        labels="zero\none\ntwo\nthree\n",
    )
    words = [word for word in WORDS if word not in {"BF16", "FP16"}]
    write_triton(
        root / "all_types",
        source=IDENTITY,
        config=tensors(
            "input",
            *((f"IN_{word}", f"TYPE_{word}", [-1]) for word in words),
            more="optional: true",
        )
        + tensors("output", *((f"OUT_{word}", f"TYPE_{word}", [-1]) for word in words)),
    )
    write_triton(
        root / "text",
        source=IDENTITY,
        config=tensors("input", ("IN", "TYPE_STRING", [1]))
        + tensors("output", ("OUT", "TYPE_STRING", [1])),
    )
    write_triton(
        root / "several",
        source=SEVERAL,
        config="model_transaction_policy { decoupled: true }\n"
        + tensors("input", ("COUNT", "TYPE_INT32", [1]))
        + tensors("output", ("NUMBER", "TYPE_INT32", [1])),
    )
    return root


@contextlib.contextmanager
def peer(repository: Path, scratch: Path, flags: Sequence[str] = ()) -> Iterator[Pair]:
    """Run Triton with all models loaded."""
    triton = Triton()
    triton.install()
    http_port, grpc_port, metrics_port = free_ports(3)
    launch = triton.launch(
        Site(
            repository=repository,
            scratch=scratch,
            control=Control.EXPLICIT,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            with_grpc=True,
        )
    )
    silent = {"--allow-metrics=false"}  # the benchmark's peer
    argv = [*(one for one in launch.argv if one not in silent), "--load-model=*",
            f"--metrics-port={metrics_port}", *flags]  # fmt: skip
    with (scratch / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            argv, cwd=scratch, env={**os.environ, **launch.environment}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: is_ready(http_port), deadline=60.0, what="the peer to be ready")
            yield Pair(http_port, grpc_port, metrics_port)
        finally:
            segments = _mapped_by(process.pid)
            os.killpg(process.pid, signal.SIGKILL)  # it waits half a minute for idle connections
            process.wait(SECONDS)
            for path in segments:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def ours(repository: Path, scratch: Path, more: Sequence[str] = ()) -> Iterator[Pair]:
    """Run mpserve with all models loaded, and client memory allowed as the peer has it."""
    flags = ["--model-control-mode=explicit", "--load-model=*", "--allow-client-shm=true", *more]
    with Server.serve(repository, flags=flags, log_path=scratch / "ours.log") as server:
        yield Pair(server.port, server.grpc_port, server.metrics_port)


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
    """Return what a server answers to an HTTP request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request(case.method, case.path, case.body, dict(case.headers))
        answer = connection.getresponse()
        return Outcome(str(answer.status), _content(answer.read()))


def ask_grpc(calls: Calls, case: GrpcCase) -> Outcome:
    """Return what a server answers to a unary call."""
    try:
        answer = calls(case.method, **case.fields)
    except grpc.RpcError as error:
        return Outcome(error.code().name, error.details())
    return Outcome("OK", _settled(json_format.MessageToDict(answer)))


def ask_stream(calls: Calls, case: StreamCase) -> list[Any]:
    """Return the answers of a stream, by id and order, and how it ended."""
    messages = [calls.message("ModelInferRequest", **fields) for fields in case.requests]
    answers: list[Any] = []
    try:
        answers.extend(
            _settled(json_format.MessageToDict(one)) for one in calls.stream(iter(messages))
        )
    except grpc.RpcError as error:
        answers.append((error.code().name, error.details()))
    return sorted(answers, key=_request_id)


def _request_id(answer: Any) -> str:
    """Return what orders answers of different requests, which a server may mix."""
    return str(answer.get("inferResponse", {}).get("id", "")) if isinstance(answer, dict) else "~"


def _content(body: bytes) -> Any:
    try:
        return _settled(json.loads(body))
    except ValueError:
        return body


def _settled(value: Any) -> Any:
    """Return a JSON value without what differs from run to run."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if name in TIMES or _is_of_server(value, name) else _settled(member)
            for name, member in value.items()
        }
    return [_settled(one) for one in value] if isinstance(value, list) else value


def _is_of_server(members: dict[str, Any], name: str) -> bool:
    return name == "version" and "extensions" in members
