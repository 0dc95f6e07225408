"""Models of libraries, with real servers, real clients and the libraries themselves."""

import json

import lightgbm
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.fixtures import onnx_models
from tests.fixtures.torch_library import make_environment, need_torch

pytest.importorskip("onnxruntime")

FEATURES = np.random.default_rng(0).normal(size=(40, 4))


def booster():
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2}
    labels = (FEATURES[:, 0] > 0).astype(int)
    return lightgbm.train(parameters, lightgbm.Dataset(FEATURES, labels), 3)


def test_an_onnx_model_without_a_configuration_serves_a_client_of_triton(serve, tmp_path):
    onnx_models.sum_and_difference(tmp_path / "models" / "simple" / "1" / "model.onnx")
    server = serve(tmp_path / "models")
    with triton_http.InferenceServerClient(server.address) as client:
        metadata = client.get_model_metadata("simple")
        assert metadata["platform"] == "onnxruntime_onnx"
        assert metadata["inputs"] == [
            {"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in ("INPUT0", "INPUT1")
        ]
        config = client.get_model_config("simple")
        assert (config["backend"], config["max_batch_size"]) == ("onnxruntime", 4)
        first = np.arange(8, dtype=np.float32).reshape(2, 4)
        inputs = [triton_http.InferInput(f"INPUT{n}", [2, 4], "FP32") for n in (0, 1)]
        for one in inputs:
            one.set_data_from_numpy(first)
        result = client.infer("simple", inputs)
        assert result.as_numpy("OUTPUT0").tolist() == (2 * first).tolist()
        assert result.as_numpy("OUTPUT1").tolist() == np.zeros((2, 4)).tolist()


KINDS = {
    "FP16": ("FLOAT16", np.array([[0.1, -65504, np.inf]], dtype=np.float16)),
    "BOOL": ("BOOL", np.array([[True, False, True]])),
    "INT8": ("INT8", np.array([[-128, 0, 127]], dtype=np.int8)),
    "UINT64": ("UINT64", np.array([[0, 1, 2**64 - 1]], dtype=np.uint64)),
    "BYTES": ("STRING", np.array([["", "é", "a" * 1000]], dtype=object)),
}


@pytest.mark.parametrize("clients", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_rarer_datatypes_come_back_from_onnx_runtime_as_they_were_sent(serve, tmp_path, clients):
    for name, (kind, _) in KINDS.items():
        path = tmp_path / "models" / name / "1" / "model.onnx"
        onnx_models.same(path, kind=getattr(onnx_models.TensorProto, kind), shape=["r", "c"])
    server = serve(tmp_path / "models")
    address = server.address if clients is triton_http else server.grpc_address
    with clients.InferenceServerClient(address) as client:
        for name, (_, row) in KINDS.items():
            for rows in (1, 3):
                given = np.repeat(row, rows, axis=0)
                one = clients.InferInput("IN", list(given.shape), name)
                one.set_data_from_numpy(given)
                answer = client.infer(name, [one]).as_numpy("OUT")
                if name == "BYTES":
                    given = np.vectorize(str.encode, otypes=[object])(given)
                assert answer.dtype == given.dtype
                assert np.array_equal(answer, given), name


SEQUENCE_CONFIG = """
max_batch_size: 4
input { name: "IN" data_type: TYPE_FP32 dims: [1] }
output { name: "SUM" data_type: TYPE_FP32 dims: [1] }
sequence_batching {
  control_input {
    name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] }
  }
  state {
    input_name: "WAS" output_name: "IS" data_type: TYPE_FP32 dims: [1]
    initial_state { name: "none" data_type: TYPE_FP32 dims: [1] zero_data: true }
  }
}
"""


def test_an_onnx_model_of_sequences_is_given_its_controls_and_states(serve, tmp_path):
    onnx_models.running_sum(tmp_path / "models" / "sum" / "1" / "model.onnx")
    (tmp_path / "models" / "sum" / "config.pbtxt").write_text(SEQUENCE_CONFIG)
    server = serve(tmp_path / "models")
    with triton_http.InferenceServerClient(server.address) as client:
        assert [one["name"] for one in client.get_model_metadata("sum")["inputs"]] == ["IN"]

        def add(value, sequence, **marks):
            one = triton_http.InferInput("IN", [1, 1], "FP32")
            one.set_data_from_numpy(np.array([[value]], dtype=np.float32))
            answer = client.infer("sum", [one], sequence_id=sequence, **marks)
            return answer.as_numpy("SUM").item()

        assert add(1, 7, sequence_start=True) == 1
        assert add(10, 8, sequence_start=True) == 10
        assert add(2, 7) == 3
        assert add(20, 8) == 30
        assert add(5, 7, sequence_start=True) == 5
        assert add(3, 8, sequence_end=True) == 33


def test_a_lightgbm_model_answers_as_with_mlserver(start, tmp_path):
    folder = tmp_path / "models" / "boosted"
    folder.mkdir(parents=True)
    booster().save_model(folder / "model.bst")
    settings = {
        "name": "boosted",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": "./model.bst", "version": "v1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    server = start(tmp_path / "models")
    question = {
        "inputs": [
            {"name": "x", "datatype": "FP64", "shape": [2, 4], "data": FEATURES[:2].tolist()}
        ]
    }
    answer = server.infer("boosted", question).json()
    assert answer["model_version"] == "v1"
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("predict", [2, 1], "FP64")
    assert output["data"] == pytest.approx(booster().predict(FEATURES[:2]))


TORCH_CONFIG = """
backend: "pytorch"
max_batch_size: 8
input {{ name: "INPUT__0" data_type: TYPE_FP32 dims: [3] }}
output {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [1] }}
parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{environment}" }} }}
"""


def test_torchscript_is_served_in_an_environment_of_its_own(serve, tmp_path):
    torch = need_torch()
    environment = make_environment(tmp_path / "env")
    folder = tmp_path / "models" / "linear"
    (folder / "1").mkdir(parents=True)
    module = torch.nn.Linear(3, 1)
    torch.jit.script(module).save(str(folder / "1" / "model.pt"))
    (folder / "config.pbtxt").write_text(TORCH_CONFIG.format(environment=environment))
    server = serve(tmp_path / "models")
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    with triton_http.InferenceServerClient(server.address) as client:
        assert client.get_model_metadata("linear")["platform"] == "pytorch_libtorch"
        one = triton_http.InferInput("INPUT__0", [2, 3], "FP32")
        one.set_data_from_numpy(given)
        answer = client.infer("linear", [one]).as_numpy("OUTPUT__0")
    with torch.inference_mode():
        expected = module(torch.tensor(given.tolist())).tolist()
    assert answer == pytest.approx(np.array(expected))
