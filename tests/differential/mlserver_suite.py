"""MLServer and mpserve on one repository, and how their answers are made comparable."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

from bench.peers.mlserver import MLServer
from bench.peers.peer import Control
from tests.differential import mlserver_requests
from tests.differential.mlserver_differences import DIFFERENCES
from tests.differential.peers import Pair, running
from tests.differential.suite import Suite
from tests.fixtures.grpc_calls import MLSERVER
from tests.fixtures.server import Server
from tests.protocol.models import MLSERVER_ECHO, write_mlserver

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

WHOLE = dedent(
    """
    from mlserver import MLModel
    from mlserver.codecs import StringCodec
    from mlserver.errors import MLServerError
    from mlserver.types import InferenceResponse

    class Whole(MLModel):
        async def load(self):
            return True

        async def predict_stream(self, payloads):
            count = 0
            async for payload in payloads:
                count += 1
                for text in self.decode(payload.inputs[0]):
                    word = text.decode() if isinstance(text, bytes) else str(text)
                    if word == "raise":
                        raise ValueError("raised")
                    if word == "told":
                        raise MLServerError("told", status_code=404)
                    if word == "stop":
                        return
                    if word != "quiet":
                        seen = f"{word} {count} {payload.id}"
                        output = StringCodec.encode_output("out", [seen])
                        yield InferenceResponse(model_name=self.name, id="own", outputs=[output])
            output = StringCodec.encode_output("out", [f"end of {count}"])
            yield InferenceResponse(model_name=self.name, outputs=[output])
    """
)


def write_models(root: Path) -> Path:
    """Write the models that both serve."""
    write_mlserver(root / "echo", "model.Echo", source=MLSERVER_ECHO)
    write_mlserver(root / "versioned", "model.Echo", source=MLSERVER_ECHO, version="v1")
    write_mlserver(root / "texts", "model.Texts", source=TEXTS)
    write_mlserver(root / "whole", "model.Whole", source=WHOLE)
    write_mlserver(root / "sk", "mlserver_sklearn.SKLearnModel", uri="./model.joblib")
    inputs = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    model = LogisticRegression().fit(inputs, [0, 1, 1, 0])
    joblib.dump(model, root / "sk" / "model.joblib")
    return root


def write_broken(root: Path) -> None:
    """Write a model that can not be loaded; a peer that finds it at its start ends."""
    write_mlserver(root / "broken", "nowhere.Nothing")


def peer(repository: Path, scratch: Path) -> contextlib.AbstractContextManager[Pair]:
    """Run MLServer, models in its own process."""
    return running(MLServer(parallel_workers=0), repository, scratch, control=Control.ALL)


@contextlib.contextmanager
def ours(repository: Path, scratch: Path) -> Iterator[Pair]:
    """Run mpserve with all models."""
    with Server.start(repository, log_path=scratch / "ours.log") as server:
        yield Pair(server.port, server.grpc_port)


def settled(value: Any) -> Any:
    """Return a value with ids, and the version of the server, hidden; events as a list."""
    if isinstance(value, bytes):
        return _settled_body(value)
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


def _settled_body(body: bytes) -> Any:
    if body.startswith(b"data: "):
        events = body.decode().split("\n\n")
        return [settled(json.loads(one.removeprefix("data: "))) for one in events if one]
    try:
        return settled(json.loads(body))
    except ValueError:
        return body


def _is_index(rows: list[Any]) -> bool:
    """Tell whether these are the rows of an index, whose order is that of a folder."""
    return isinstance(rows[0], dict) and "state" in rows[0]


def _name(row: dict[str, Any]) -> str:
    return str(row["name"])


SUITE = Suite(
    name="mlserver",
    write_models=write_models,
    write_later=write_broken,
    peer=peer,
    ours=ours,
    http_cases=mlserver_requests.http_cases(),
    grpc_cases=mlserver_requests.grpc_cases(),
    stream_cases=mlserver_requests.stream_cases(),
    messages=MLSERVER,
    settle=settled,
    differences=DIFFERENCES,
    least_cases=200,
)
