"""`reshape` of inputs and outputs: clients see `dims`, the model its own shape."""

import json
from collections.abc import Iterator
from textwrap import dedent

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.fixtures.server import Server
from tests.protocol.models import write_triton

SHAPES = dedent(
    """
    import json
    import numpy
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            output = json.loads(args["model_config"])["output"][0]
            self._shape = output.get("reshape", {"shape": output["dims"]})["shape"]
            self._batches = json.loads(args["model_config"])["max_batch_size"] > 0
            given = json.loads(args["model_config"])["input"][0]["reshape"]["shape"]
            self._rank = len(given) + self._batches

        def execute(self, requests):
            responses = []
            for request in requests:
                given = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                if given.ndim != self._rank:
                    raise ValueError(f"not my shape: {given.shape}")
                rows = [len(given)] if self._batches else []
                seen = numpy.array([json.dumps(given.shape).encode()] * (rows or [1])[0])
                responses.append(
                    pb_utils.InferenceResponse(
                        [
                            pb_utils.Tensor("OUT", given.reshape([*rows, *self._shape])),
                            pb_utils.Tensor("SEEN", seen.astype(object).reshape([-1, 1])),
                        ]
                    )
                )
            return responses
    """
)
CONFIG = """
    max_batch_size: {batch}
    dynamic_batching {{ max_queue_delay_microseconds: 1000 }}
    input {{ name: "IN" data_type: TYPE_FP32 dims: {dims} reshape {{ shape: {shape} }} }}
    output {{ name: "OUT" data_type: TYPE_FP32 dims: {out} reshape {{ shape: {out_shape} }} }}
    output {{ name: "SEEN" data_type: TYPE_STRING dims: {seen} }}
"""
WARM_UP = """
    model_warmup { name: "one" batch_size: 1 inputs {
        key: "IN" value { data_type: TYPE_FP32 dims: [2, 3] zero_data: true }
    } }
"""
MODELS = {
    "rows": WARM_UP  # a load fails with its warm-up
    + CONFIG.format(
        batch=4, dims="[2, 3]", shape="[6]", out="[3, 2]", out_shape="[6]", seen="[1]"
    ),
    "scalars": CONFIG.format(
        batch=4, dims="[1]", shape="[]", out="[1, 1]", out_shape="[]", seen="[1]"
    ),
    "free": CONFIG.format(
        batch=0, dims="[-1, 2]", shape="[2, -1]", out="[-1, 2]", out_shape="[2, -1]",
        seen="[-1, 1]",
    ).replace("dynamic_batching { max_queue_delay_microseconds: 1000 }", ""),
}  # fmt: skip
ENSEMBLE = """
    platform: "ensemble"
    max_batch_size: 4
    input { name: "A" data_type: TYPE_FP32 dims: [2, 3] }
    output { name: "B" data_type: TYPE_FP32 dims: [3, 2] }
    output { name: "S" data_type: TYPE_STRING dims: [1] }
    ensemble_scheduling { step {
        model_name: "rows" model_version: -1
        input_map { key: "IN" value: "A" }
        output_map { key: "OUT" value: "B" }
        output_map { key: "SEEN" value: "S" }
    } }
"""


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("reshape")
    for name, config in MODELS.items():
        write_triton(folder / "models" / name, source=SHAPES, config=config)
    (folder / "models" / "both" / "1").mkdir(parents=True)
    (folder / "models" / "both" / "config.pbtxt").write_text(ENSEMBLE)
    with Server.serve(folder / "models", log_path=folder / "log") as one:
        yield one


CASES = [
    pytest.param("rows", (3, 2, 3), (3, 3, 2), [3, 6], id="rows"),
    pytest.param("scalars", (2, 1), (2, 1, 1), [2], id="scalars"),
    pytest.param("free", (5, 2), (5, 2), [2, 5], id="free"),
]


@pytest.mark.parametrize("library", [tritonclient.http, tritonclient.grpc])
@pytest.mark.parametrize(("model", "sent", "got", "seen"), CASES)
def test_the_model_sees_its_shape_and_the_client_the_dims(server, library, model, sent, got, seen):
    address = server.address if library is tritonclient.http else server.grpc_address
    array = np.arange(np.prod(sent), dtype=np.float32).reshape(sent)
    with library.InferenceServerClient(address) as client:
        tensor = library.InferInput("IN", sent, "FP32")
        tensor.set_data_from_numpy(array)
        answer = client.infer(model, [tensor])
    assert json.loads(answer.as_numpy("SEEN").ravel()[0]) == seen
    out = answer.as_numpy("OUT")
    assert out.shape == got
    assert out.ravel().tolist() == array.ravel().tolist()


def test_a_step_of_an_ensemble_sees_its_shape(server):
    sent = {"name": "A", "shape": [1, 2, 3], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5]}
    answer = server.infer("both", {"inputs": [sent]})
    assert answer.status == 200, answer
    outputs = {one["name"]: one for one in answer.json()["outputs"]}
    assert outputs["B"]["shape"] == [1, 3, 2]
    assert outputs["S"]["data"] == ["[1, 6]"]


def test_metadata_tell_the_dims(server):
    assert server.get("/v2/models/rows").json()["inputs"][0]["shape"] == [-1, 2, 3]


def test_the_clients_shape_is_what_is_checked(server):
    sent = {"name": "IN", "shape": [1, 6], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5]}
    answer = server.infer("rows", {"inputs": [sent]})
    assert answer.status == 400
    assert "Expected [-1,2,3], got [1,6]" in answer.json()["error"]
