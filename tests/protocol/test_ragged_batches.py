"""Ragged batches, batch inputs and shape tensors: what the configuration says of odd shapes."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from textwrap import dedent

import numpy as np
import pytest
import tritonclient.http as triton_http

from tests.fixtures import onnx_models
from tests.fixtures.sequencer import pending
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

FOR_EVER_US = 3_600_000_000
MODEL = dedent(
    """
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            return [self.answer(request, len(requests)) for request in requests]

        def answer(self, request, together):
            names = ",".join(tensor.name() for tensor in request.inputs())
            value = pb_utils.get_input_tensor_by_name(request, "VALUE").as_numpy()
            return pb_utils.InferenceResponse([
                pb_utils.Tensor("DOUBLED", value * 2),
                pb_utils.Tensor("TOGETHER", np.array([[together]], np.int32)),
                pb_utils.Tensor("NAMES", np.array([[names]], np.object_)),
            ])
    """
)
CONFIG = """
backend: "python"
max_batch_size: 8
input {{ name: "VALUE" data_type: TYPE_INT32 dims: [-1] {input} }}
output {{ name: "DOUBLED" data_type: TYPE_INT32 dims: [-1] }}
output {{ name: "TOGETHER" data_type: TYPE_INT32 dims: [1] }}
output {{ name: "NAMES" data_type: TYPE_STRING dims: [1] }}
{more}
"""
PAIRS = (
    f"dynamic_batching {{ preferred_batch_size: 2 max_queue_delay_microseconds: {FOR_EVER_US} }}"
)
RAGGED = "allow_ragged_batch: true"
BATCH_INPUT = """
batch_input {{ kind: {kind} target_name: "EXTRA" data_type: TYPE_FP32 source_input: "VALUE" }}
batch_output {{
  kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "DOUBLED" source_input: "VALUE"
}}
"""
EXPLICIT = ["--model-control-mode=explicit"]
KINDS = (
    "BATCH_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
    "BATCH_ITEM_SHAPE",
    "BATCH_ITEM_SHAPE_FLATTEN",
)
ONNX_CONFIG = f"""
max_batch_size: 8
input {{ name: "IN" data_type: TYPE_FP32 dims: [-1] allow_ragged_batch: true }}
output {{ name: "DOUBLED" data_type: TYPE_FP32 dims: [-1] }}
output {{ name: "COUNTS_TOLD" data_type: TYPE_FP32 dims: [1] reshape {{ shape: [] }} }}
output {{ name: "SUMS_TOLD" data_type: TYPE_FP32 dims: [1] reshape {{ shape: [] }} }}
batch_input {{
  kind: BATCH_ELEMENT_COUNT target_name: "COUNTS" data_type: TYPE_FP32 source_input: "IN"
}}
batch_input {{
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT
  target_name: "SUMS" data_type: TYPE_FP32 source_input: "IN"
}}
batch_output {{
  kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "DOUBLED" source_input: "IN"
}}
{PAIRS}
"""
MODELS = {
    "ragged": CONFIG.format(input=RAGGED, more=PAIRS),
    "even": CONFIG.format(input="", more=PAIRS),
    "shape": CONFIG.format(input="is_shape_tensor: true", more=PAIRS),
    **{
        kind.lower(): CONFIG.format(input=RAGGED, more=PAIRS + BATCH_INPUT.format(kind=kind))
        for kind in KINDS
    },
}


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ragged")
    for name, config in MODELS.items():
        model = folder / "models" / name
        (model / "1").mkdir(parents=True)
        (model / "1" / "model.py").write_text(MODEL)
        (model / "config.pbtxt").write_text(config)
    onnx_models.ragged(folder / "models" / "onnx" / "1" / "model.onnx", added=("COUNTS", "SUMS"))
    (folder / "models" / "onnx" / "config.pbtxt").write_text(ONNX_CONFIG)
    with Server.serve(folder / "models", log_path=folder / "log", flags=EXPLICIT) as started:
        yield started


class Answered:
    """An answer as Triton's client reads it."""

    def __init__(self, result: triton_http.InferResult) -> None:
        self.doubled = result.as_numpy("DOUBLED").tolist()
        self.together = result.as_numpy("TOGETHER").item()
        self.names = result.as_numpy("NAMES").item().decode()


def ask(server: Server, model: str, values: list[int]) -> Answered:
    with triton_http.InferenceServerClient(server.address) as client:
        tensor = triton_http.InferInput("VALUE", [1, len(values)], "INT32")
        tensor.set_data_from_numpy(np.array([values], np.int32))
        return Answered(client.infer(model, [tensor]))


@contextmanager
def waiting(server: Server, model: str, values: list[int]) -> Iterator[Future[Answered]]:
    """Send a request that waits for company."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        answer = pool.submit(ask, server, model, values)
        wait_until(lambda: pending(server, model) == 1, what="the request to wait")
        yield answer


def test_requests_of_other_shapes_are_one_batch_where_the_input_is_ragged(server):
    assert server.load("ragged").status == 200
    with waiting(server, "ragged", [1, 2]) as first:
        second = ask(server, "ragged", [3, 4, 5])
        assert (second.doubled, second.together) == ([[6, 8, 10]], 2)
        assert (first.result().doubled, first.result().together) == ([[2, 4]], 2)


def test_a_request_of_another_shape_begins_the_next_batch_elsewhere(server):
    assert server.load("even").status == 200
    with waiting(server, "even", [1, 2]) as first, ThreadPoolExecutor(max_workers=1) as pool:
        second = pool.submit(ask, server, "even", [3, 4, 5])
        assert first.result().together == 1
        assert ask(server, "even", [6, 7, 8]).together == 2
        assert second.result().together == 2


@pytest.mark.parametrize("kind", KINDS)
def test_batch_inputs_do_not_reach_python_models_and_are_told(server, kind):
    name = kind.lower()
    assert server.load(name).status == 200
    with waiting(server, name, [1, 2]) as first:
        second = ask(server, name, [3])
        assert (second.doubled, second.together, second.names) == ([[6]], 2, "VALUE")
        assert first.result().doubled == [[2, 4]]
    for field in ("batch_input", "batch_output"):
        doubt = f"'{field}' of model '{name}' has no effect in this server"
        wait_until(lambda doubt=doubt: doubt in server.log_text, what=doubt)
    assert server.load(name).status == 200
    doubts = server.log_text.count(f"of model '{name}' has no effect")
    assert doubts == 2, "told once, however often it is loaded"
    config = server.get(f"/v2/models/{name}/config").json()
    assert config["batch_input"][0]["kind"] == kind
    assert config["batch_output"][0]["kind"] == "BATCH_SCATTER_WITH_INPUT_SHAPE"


def ask_onnx(server: Server, values: list[float]) -> dict[str, list]:
    with triton_http.InferenceServerClient(server.address) as client:
        tensor = triton_http.InferInput("IN", [1, len(values)], "FP32")
        tensor.set_data_from_numpy(np.array([values], np.float32))
        result = client.infer("onnx", [tensor])
        names = ("DOUBLED", "COUNTS_TOLD", "SUMS_TOLD")
        return {name: result.as_numpy(name).tolist() for name in names}


def test_models_of_onnx_runtime_get_a_row_and_what_tells_of_it(server):
    pytest.importorskip("onnxruntime")
    assert server.load("onnx").status == 200
    assert "of model 'onnx' has no effect" not in server.log_text
    inputs = server.get("/v2/models/onnx").json()["inputs"]
    assert inputs == [{"name": "IN", "datatype": "FP32", "shape": [-1, -1]}]
    with ThreadPoolExecutor(max_workers=1) as pool:
        first = pool.submit(ask_onnx, server, [1, 2])
        wait_until(lambda: pending(server, "onnx") == 1, what="the request to wait")
        second = ask_onnx(server, [3, 4, 5])
        assert first.result() == {
            "DOUBLED": [[2, 4]],
            "COUNTS_TOLD": [[2]],
            "SUMS_TOLD": [[2]],
        }
        assert second == {
            "DOUBLED": [[6, 8, 10]],
            "COUNTS_TOLD": [[3]],
            "SUMS_TOLD": [[5]],
        }


def test_shape_tensors_are_refused(server):
    answer = server.load("shape")
    text = "model input shape tensors are only supported for TensorRT platform for shape"
    assert answer.status == 400
    assert text in answer.json()["error"]
