"""Requests that are put together for one execution: what it gains, and that nothing is mixed up."""

import json
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest

from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.pace import full_or, within
from tests.fixtures.sequencer import pending
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

CONNECTIONS = 32
MAX_BATCH_SIZE = 16
MEASURED_SECONDS = 1.5
EXECUTION_SECONDS = full_or(0.002, 0.05)  # so long that a slow machine, too, spends little else
GAIN = full_or(
    10, 5
)  # 16 requests share an execution; the rest is what putting them together costs
HOUR_US = 3_600_000_000

MODEL = dedent(
    f"""
    import time
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            time.sleep({EXECUTION_SECONDS})
            return [self.answer(request, len(requests)) for request in requests]

        def answer(self, request, together):
            value = pb_utils.get_input_tensor_by_name(request, "VALUE").as_numpy()
            if (value < 0).any():
                error = pb_utils.TritonError(f"{{value.item()}} is negative")
                return pb_utils.InferenceResponse([], error)
            return pb_utils.InferenceResponse([
                pb_utils.Tensor("DOUBLED", value * 2),
                pb_utils.Tensor("TOGETHER", np.full(value.shape, together, dtype=np.int32)),
            ])
    """
)
MLSERVER_MODEL = dedent(
    """
    import numpy as np
    from mlserver import MLModel
    from mlserver.codecs import NumpyCodec
    from mlserver.types import InferenceResponse

    class Model(MLModel):
        async def predict(self, payload):
            values = self.decode(payload.inputs[0], default_codec=NumpyCodec)
            outputs = {"DOUBLED": values * 2, "TOGETHER": np.full(values.shape, len(values))}
            return InferenceResponse(
                model_name=self.name,
                outputs=[NumpyCodec.encode_output(*output) for output in outputs.items()],
            )
    """
)
TENSORS = """
max_batch_size: 16
input { name: "VALUE" data_type: TYPE_INT32 dims: [1] }
output { name: "DOUBLED" data_type: TYPE_INT32 dims: [1] }
output { name: "TOGETHER" data_type: TYPE_INT32 dims: [1] }
"""


@pytest.fixture
def models(tmp_path) -> Path:
    batching = {
        "alone": "",
        "together": "dynamic_batching {}",
        "patient": (
            "dynamic_batching { preferred_batch_size: 4 "
            f"max_queue_delay_microseconds: {HOUR_US} }}"
        ),
        "shared": (
            f"dynamic_batching {{ max_queue_delay_microseconds: {HOUR_US} }} "
            "instance_group { count: 3 }"
        ),
    }
    for name, config in batching.items():
        folder = tmp_path / "models" / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").write_text(MODEL)
        (folder / "config.pbtxt").write_text('backend: "python"' + TENSORS + config)
    return tmp_path / "models"


@pytest.fixture
def server(serve, models) -> Server:
    return serve(models)


def asking(value: int) -> dict[str, object]:
    shape = [1, 1]
    return {"inputs": [{"name": "VALUE", "datatype": "INT32", "shape": shape, "data": [value]}]}


class Client(threading.Thread):
    """Sends values of its own one after the other, each once it has the answer to the last."""

    def __init__(self, server: Server, model: str, number: int, *, until: float) -> None:
        super().__init__(daemon=True)
        self._connection = Connection(server)
        self._model = model
        self._first = number * 1_000_000
        self._until = until
        self.answered = 0
        self.wrong: list[object] = []

    def run(self) -> None:
        for value in range(self._first, self._first + 1_000_000):
            if time.monotonic() >= self._until:
                break
            self._ask(-value if value % 10 == 7 else value)
        self._connection.close()

    def _ask(self, value: int) -> None:
        status, body = self._connection.exchange(infer_bytes(self._model, asking(value)))
        answer = json.loads(body)
        if value < 0:
            as_expected = (status, answer.get("error")) == (500, f"{value} is negative")
        else:
            as_expected = status == 200 and answer["outputs"][0]["data"] == [2 * value]
        self.answered += 1
        if not as_expected:
            self.wrong.append((value, status, answer))


def answers_per_second(server: Server, model: str) -> float:
    """Return the rate of all clients together; fails when an answer is not the request's."""
    begin = time.monotonic()
    until = begin + MEASURED_SECONDS
    clients = [Client(server, model, number, until=until) for number in range(1, CONNECTIONS + 1)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(within(30))
    assert [wrong for client in clients for wrong in client.wrong] == []
    return sum(client.answered for client in clients) / (time.monotonic() - begin)


def send(server: Server, model: str, *values: int) -> list[Connection]:
    """Send one request on a connection each, and do not wait for the answers."""
    connections = [Connection(server) for _ in values]
    for connection, value in zip(connections, values, strict=True):
        connection.socket.sendall(infer_bytes(model, asking(value)))
    return connections


def receive(connections: list[Connection]) -> list[dict[str, list[int]]]:
    answers = []
    for connection in connections:
        _, body = connection.exchange(b"")
        outputs = json.loads(body)["outputs"]
        answers.append({output["name"]: output["data"][0] for output in outputs})
        connection.close()
    return answers


def average_batch(server: Server, model: str) -> float:
    stats = server.get(f"/v2/models/{model}/stats").json()["model_stats"][0]
    return stats["inference_count"] / stats["execution_count"]


def test_requests_that_share_an_execution_are_answered_many_times_as_fast(server):
    alone = answers_per_second(server, "alone")
    together = answers_per_second(server, "together")
    told = (
        f"one by one {alone:.0f}/s, together {together:.0f}/s, "
        f"{average_batch(server, 'together'):.1f} requests in a batch"
    )
    sys.stdout.write(f"{told}\n")
    assert together >= GAIN * alone, told
    assert average_batch(server, "alone") == 1


def test_without_dynamic_batching_each_request_is_executed_alone(server):
    answers = receive(send(server, "alone", *range(8)))
    assert [answer["DOUBLED"] for answer in answers] == [2 * value for value in range(8)]
    assert {answer["TOGETHER"] for answer in answers} == {1}


def test_a_batch_waits_until_it_has_a_preferred_size(server):
    waiting = send(server, "patient", 1, 2, 3)
    last = send(server, "patient", 4)
    answers = receive([*waiting, *last])
    assert [answer["DOUBLED"] for answer in answers] == [2, 4, 6, 8]
    assert {answer["TOGETHER"] for answer in answers} == {4}


def test_idle_instances_do_not_split_a_batch_that_waits(server):
    answers = receive(send(server, "shared", *range(MAX_BATCH_SIZE)))
    assert [answer["DOUBLED"] for answer in answers] == [2 * n for n in range(MAX_BATCH_SIZE)]
    assert {answer["TOGETHER"] for answer in answers} == {MAX_BATCH_SIZE}


def test_an_unload_answers_a_batch_that_waits(serve, models):
    server = serve(models, flags=["--model-control-mode=explicit", "--load-model=patient"])
    waiting = send(server, "patient", 1)
    wait_until(lambda: pending(server, "patient") == 1, what="the request to wait")
    assert server.unload("patient").status == 200
    (answer,) = receive(waiting)
    assert answer == {"DOUBLED": 2, "TOGETHER": 1}


def test_requests_to_a_model_of_mlserver_share_a_call_of_predict(start, tmp_path):
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(MLSERVER_MODEL)
    settings = {
        "name": "m",
        "implementation": "model.Model",
        "max_batch_size": 4,
        "max_batch_time": 3600.0,
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    answers = receive(send(start(tmp_path / "models"), "m", 1, 2, 3, 4))
    assert [answer["DOUBLED"] for answer in answers] == [2, 4, 6, 8]
    assert {answer["TOGETHER"] for answer in answers} == {4}
