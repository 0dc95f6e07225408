"""Clients that go, for every way of scheduling: what waits leaves, what runs is told.

Each model takes a text, which says what its code does, and notes in a file what happens to it.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.fixtures.closed_loop import Connection, post_bytes
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import within
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

DEADLINE_SECONDS = within(1)
"""Of a call that ends so; long enough for its model to begin."""

MODEL = """
import json, os, time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_name"]
        parameters = json.loads(args["model_config"])["parameters"]
        self.folder = parameters["folder"]["string_value"]

    def note(self, text):
        with open(os.path.join(self.folder, "notes"), "a") as notes:
            notes.write(f"{self.name} {text}\\n")

    def wait(self, request):
        self.note("waits")
        while not request.is_cancelled() and os.path.exists(os.path.join(self.folder, "gate")):
            time.sleep(0.002)
        self.note("was cancelled" if request.is_cancelled() else "was let through")

    def execute(self, requests):
        self.note(f"has {len(requests)}")
        return [self.answer(request) for request in requests]

    def answer(self, request):
        word = pb_utils.get_input_tensor_by_name(request, "WORD").as_numpy()
        if word.ravel()[0] == b"wait":
            self.wait(request)
        self.note(f"answers {word.ravel()[0].decode()}")
        return pb_utils.InferenceResponse([pb_utils.Tensor("SAID", word)])
"""
DECOUPLED = """
    def execute(self, requests):
        for request in requests:
            self.wait(request)
            request.get_response_sender().send(
                flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
CALLER = """
    async def execute(self, requests):
        import asyncio
        (request,) = requests
        word = pb_utils.get_input_tensor_by_name(request, "WORD")
        call = asyncio.ensure_future(pb_utils.InferenceRequest(
            model_name="plain", inputs=[word], requested_output_names=["SAID"]).async_exec())
        while not call.done() and not request.is_cancelled():
            await asyncio.sleep(0.002)
        if request.is_cancelled():
            call.cancel()
        self.note("was cancelled" if request.is_cancelled() else "was answered")
        return [pb_utils.InferenceResponse([pb_utils.Tensor("SAID", word.as_numpy())])]
"""
TENSORS = """
backend: "python"
input { name: "WORD" data_type: TYPE_STRING dims: [1] }
output { name: "SAID" data_type: TYPE_STRING dims: [1] }
"""
ENSEMBLE = """
platform: "ensemble"
input { name: "WORD" data_type: TYPE_STRING dims: [1] }
output { name: "SAID" data_type: TYPE_STRING dims: [1] }
ensemble_scheduling {
  step { model_name: "plain"
    input_map { key: "WORD" value: "WORD" } output_map { key: "SAID" value: "HALF" } }
  step { model_name: "last"
    input_map { key: "WORD" value: "HALF" } output_map { key: "SAID" value: "SAID" } }
}
"""
BATCHING = """
max_batch_size: 2
dynamic_batching { preferred_batch_size: 2 max_queue_delay_microseconds: 60000000 }
"""
SEQUENCES = "sequence_batching { max_sequence_idle_microseconds: 600000000 }"
CONFIGS = {
    "plain": TENSORS,
    "last": TENSORS,
    "batched": TENSORS + BATCHING,
    "sequence": TENSORS + SEQUENCES,
    "decoupled": TENSORS + "model_transaction_policy { decoupled: true }",
    "caller": TENSORS,
    "ensemble": ENSEMBLE,
}
CODE = {"decoupled": MODEL + DECOUPLED, "caller": MODEL + CALLER}
BATCHES = {"batched"}
INSIDE = {"ensemble": "plain", "caller": "plain"}
"""Where the request of a model really runs."""


class Place:
    """A server, and the folder of notes and gate of its models."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    @property
    def gate(self) -> Path:
        return self.folder / "gate"

    def notes(self, model: str) -> list[str]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(f"{model} ") for line in lines if line.startswith(f"{model} ")]

    def forget(self) -> None:
        (self.folder / "notes").unlink(missing_ok=True)
        self.gate.touch()

    def wait_for(self, model: str, note: str) -> None:
        wait_until(lambda: note in self.notes(model), what=f"{model} to note '{note}'")

    def waiting(self, model: str) -> int:
        text = self.server.metrics()
        found = re.search(
            rf'^nv_inference_pending_request_count{{model="{model}",version="1"}} (\d+)',
            text,
            re.MULTILINE,
        )
        return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def place(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cancellation")
    parameter = f'parameters {{ key: "folder" value {{ string_value: "{folder}" }} }}'
    for name, config in CONFIGS.items():
        model = folder / "models" / name
        (model / "1").mkdir(parents=True)
        is_ensemble = config is ENSEMBLE
        (model / "config.pbtxt").write_text(config if is_ensemble else config + parameter)
        if not is_ensemble:
            (model / "1" / "model.py").write_text(CODE.get(name, MODEL))
    with Server.serve(folder / "models", log_path=folder / "log") as server:
        yield Place(server, folder)


@pytest.fixture(autouse=True)
def fresh(place: Place) -> Iterator[None]:
    place.forget()
    yield
    place.gate.unlink(missing_ok=True)


# --- the ways of asking, and of going ---------------------------------------------------------


@contextmanager
def over_http(place: Place, model: str, word: str, **parameters: Any) -> Iterator[Callable]:
    """Send a request; gives what lets the client go."""
    shape = [1, 1] if model in BATCHES else [1]
    tensor = {"name": "WORD", "shape": shape, "datatype": "BYTES", "data": [word]}
    body = {"inputs": [tensor], "parameters": parameters}
    with closing(Connection(place.server)) as connection:
        connection.socket.sendall(post_bytes(f"/v2/models/{model}/infer", body))
        yield connection.close


@contextmanager
def over_grpc(
    place: Place, model: str, word: str, *, timeout: float = within(30), **parameters: Any
) -> Iterator[Callable]:
    shape = [1, 1] if model in BATCHES else [1]
    with grpc.insecure_channel(place.server.grpc_address) as channel:
        calls = Calls(channel)
        raw = len(word).to_bytes(4, "little") + word.encode()
        message = calls.infer_request(
            model, {"name": "WORD", "datatype": "BYTES", "shape": shape}, raw=(raw,)
        )
        for name, value in parameters.items():
            if isinstance(value, bool):
                message.parameters[name].bool_param = value
            else:
                message.parameters[name].int64_param = value
        if model == "decoupled":
            stream = calls.stream(iter([message]), timeout=timeout)
            yield stream.cancel
            stream.cancel()
            return
        future = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda given: given.SerializeToString(),
        ).future(message, timeout=timeout)
        yield future.cancel
        future.cancel()


@contextmanager
def with_a_deadline(place: Place, model: str, word: str, **parameters: Any) -> Iterator[Callable]:
    with over_grpc(place, model, word, timeout=DEADLINE_SECONDS, **parameters):
        yield lambda: None  # it goes by itself


WAYS = {"http": over_http, "cancel": over_grpc, "deadline": with_a_deadline}
ways = pytest.mark.parametrize("way", WAYS)
MODELS = ("plain", "sequence", "decoupled", "ensemble", "caller")


def starts(model: str) -> dict[str, Any]:
    return {"sequence_id": 7, "sequence_start": True} if model == "sequence" else {}


def goes_on(model: str) -> dict[str, Any]:
    return {"sequence_id": 7} if model == "sequence" else {}


def ask(place: Place, model: str, word: str, **parameters: Any) -> Any:
    shape = [1, 1] if model in BATCHES else [1]
    tensor = {"name": "WORD", "shape": shape, "datatype": "BYTES", "data": [word]}
    answer = place.server.infer(model, {"inputs": [tensor], "parameters": parameters})
    assert answer.status == 200, answer
    return json.loads(answer.body)["outputs"][0]["data"]


@ways
@pytest.mark.parametrize("model", MODELS)
def test_what_runs_is_told(place, model, way):
    if (model, way) == ("decoupled", "http"):
        pytest.skip("asked by gRPC streams here, over HTTP in test_http_generate")
    with WAYS[way](place, model, "wait", **starts(model)) as go:
        place.wait_for(INSIDE.get(model, model), "waits")
        go()
        place.wait_for(INSIDE.get(model, model), "was cancelled")
    if model == "caller":
        place.wait_for("caller", "was cancelled")
    if model != "decoupled":
        assert ask(place, model, "again", **starts(model)) == ["again"]
    if model == "ensemble":
        assert place.notes("last") == ["has 1", "answers again"], "its next step never began"


@ways
@pytest.mark.parametrize("model", MODELS)
def test_what_waits_leaves_the_queue(place, model, way):
    if (model, way) == ("decoupled", "http"):
        pytest.skip("asked by gRPC streams here, over HTTP in test_http_generate")
    inside = INSIDE.get(model, model)
    first = over_grpc if model == "decoupled" else over_http
    with first(place, inside, "wait", **starts(model)):
        place.wait_for(inside, "waits")
        with WAYS[way](place, model, "never", **goes_on(model)) as go:
            wait_until(lambda: place.waiting(inside) == 1, what="the request to wait")
            go()
            wait_until(lambda: place.waiting(inside) == 0, what="the request to leave")
        place.gate.unlink()
        place.wait_for(inside, "was let through")
    if model != "decoupled":  # a sequence has ended with its request
        assert ask(place, model, "next", **starts(model)) == ["next"]
    assert "answers never" not in place.notes(inside)
    assert "answers never" not in place.notes("last")


@ways
def test_of_a_batch_only_the_request_whose_client_went_is_told(place, way):
    with (
        WAYS[way](place, "batched", "wait") as go,
        closing(Connection(place.server)) as staying,
    ):
        wait_until(lambda: place.waiting("batched") == 1, what="the request to wait")
        tensor = {"name": "WORD", "shape": [1, 1], "datatype": "BYTES", "data": ["stays"]}
        staying.socket.sendall(post_bytes("/v2/models/batched/infer", {"inputs": [tensor]}))
        place.wait_for("batched", "waits")
        go()
        place.wait_for("batched", "was cancelled")
        status, body = staying.exchange(b"")
    assert status == 200
    assert json.loads(body)["outputs"][0]["data"] == ["stays"]
    assert place.notes("batched")[0] == "has 2"


@ways
def test_a_request_that_waits_for_company_leaves_alone(place, way):
    with WAYS[way](place, "batched", "never") as go:
        wait_until(lambda: place.waiting("batched") == 1, what="the request to wait")
        go()
        wait_until(lambda: place.waiting("batched") == 0, what="the request to leave")
    with over_http(place, "batched", "one"):
        wait_until(lambda: place.waiting("batched") == 1, what="the next one to wait")
        assert ask(place, "batched", "two") == ["two"]
    assert place.notes("batched") == ["has 2", "answers one", "answers two"]
