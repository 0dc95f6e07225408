"""MLServer and mpserve on one repository."""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import grpc
import joblib
import numpy as np
from google.protobuf import json_format
from sklearn.linear_model import LogisticRegression

from bench.peers.mlserver import MLServer
from bench.peers.peer import Control, Site
from tests.differential.requests import GrpcCase, HttpCase
from tests.differential.servers import Outcome, Pair, ask_http, is_ready
from tests.fixtures.grpc_calls import MLSERVER, Calls
from tests.fixtures.ports import free_ports
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import MLSERVER_ECHO

SECONDS = 20.0
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEXTS = dedent(
    """
    from mlserver import MLModel
    from mlserver.codecs import StringCodec
    from mlserver.types import InferenceResponse

    class Texts(MLModel):
        async def load(self):
            return True

        def answer(self, texts, id):
            output = StringCodec.encode_output("out", texts)
            return InferenceResponse(model_name=self.name, id=id, outputs=[output])

        async def predict(self, payload):
            decoded = self.decode(payload.inputs[0])
            return self.answer([str(one) for one in decoded], payload.id)

        async def predict_stream(self, payloads):
            async for payload in payloads:
                for text in self.decode(payload.inputs[0]):
                    word = text.decode() if isinstance(text, bytes) else str(text)
                    for part in word.split():
                        yield self.answer([part], payload.id)
    """
)


def write_models(root: Path) -> Path:
    """Write the models that both serve."""
    rows = {
        "echo": ("model.Echo", MLSERVER_ECHO, {}),
        "versioned": ("model.Echo", MLSERVER_ECHO, {"version": "v1"}),
        "texts": ("model.Texts", TEXTS, {}),
    }
    for name, (implementation, source, parameters) in rows.items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(source)
        settings = {"name": name, "implementation": implementation, "parameters": parameters}
        (folder / "model-settings.json").write_text(json.dumps(settings))
    (root / "sk").mkdir()
    inputs = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    model = LogisticRegression().fit(inputs, [0, 1, 1, 0])
    joblib.dump(model, root / "sk" / "model.joblib")
    settings = {"name": "sk", "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": "./model.joblib"}}  # fmt: skip
    (root / "sk" / "model-settings.json").write_text(json.dumps(settings))
    return root


def write_broken(root: Path) -> None:
    """Write a model that can not be loaded; a peer that finds it at its start ends."""
    folder = root / "broken"
    folder.mkdir()
    settings = {"name": "broken", "implementation": "nowhere.Nothing"}
    (folder / "model-settings.json").write_text(json.dumps(settings))


@contextlib.contextmanager
def peer(repository: Path, scratch: Path) -> Iterator[Pair]:
    """Run MLServer, models in its own process."""
    server = MLServer(parallel_workers=0)
    server.install()
    http_port, grpc_port, metrics_port = free_ports(3)
    launch = server.launch(
        Site(
            repository=repository,
            scratch=scratch,
            control=Control.ALL,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            with_grpc=True,
        )
    )
    _tell_metrics(repository / "settings.json", metrics_port)
    with (scratch / "mlserver.log").open("wb") as log:
        process = subprocess.Popen(
            launch.argv, cwd=scratch, env={**os.environ, **launch.environment, "PYTHONPATH": ""},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: is_ready(http_port), deadline=60.0, what="the peer to be ready")
            yield Pair(http_port, grpc_port, metrics_port)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)


@contextlib.contextmanager
def ours(repository: Path, scratch: Path) -> Iterator[Pair]:
    """Run mpserve with all models."""
    with Server.start(repository, log_path=scratch / "ours.log") as server:
        yield Pair(server.port, server.grpc_port, server.metrics_port)


def _tell_metrics(path: Path, port: int) -> None:
    """The benchmark's peer has them off."""
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "metrics_endpoint": "/metrics", "metrics_port": port}))


def ask(port: int, case: HttpCase) -> Outcome:
    """Return what a server answers to an HTTP request, without ids that it made up."""
    answer = ask_http(port, case)
    return Outcome(answer.status, settled(answer.content))


def stream(channel: grpc.Channel, requests: list[dict[str, Any]]) -> list[Any]:
    """Return the answers of one stream, and how it ended."""
    calls = Calls(channel, MLSERVER)
    messages = [calls.message("ModelInferRequest", **fields) for fields in requests]
    answers: list[Any] = []
    try:
        answers.extend(
            settled(json_format.MessageToDict(one)) for one in calls.stream(iter(messages))
        )
    except grpc.RpcError as error:
        answers.append((error.code().name, error.details()))
    return answers


def unary(channel: grpc.Channel, case: GrpcCase) -> Outcome:
    """Return what a server answers to a call, without ids that it made up."""
    try:
        answer = Calls(channel, MLSERVER)(case.method, **case.fields)
    except grpc.RpcError as error:
        return Outcome(error.code().name, error.details())
    return Outcome("OK", settled(json_format.MessageToDict(answer)))


def settled(value: Any) -> Any:
    """Return a value with ids, and the version of the server, hidden; events as a list."""
    if isinstance(value, bytes):
        if not value.startswith(b"data: "):
            return value
        events = value.decode().split("\n\n")
        return [settled(json.loads(one.removeprefix("data: "))) for one in events if one]
    if isinstance(value, str):
        return UUID.sub("some id", value)
    if isinstance(value, list):
        found = [settled(one) for one in value]
        return sorted(found, key=_name) if found and _is_index(found) else found
    if isinstance(value, dict):
        told = {name: settled(one) for name, one in value.items()}
        if value.get("name") == "mlserver":
            told["version"] = "some version"
        return told
    return value


def _is_index(rows: list[Any]) -> bool:
    """Tell whether these are the rows of an index, whose order is that of a folder."""
    return isinstance(rows[0], dict) and "state" in rows[0]


def _name(row: dict[str, Any]) -> str:
    return str(row["name"])
