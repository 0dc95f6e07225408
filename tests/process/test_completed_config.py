"""What a model completes of its configuration, seen from inside and from outside."""

import json
from textwrap import dedent

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tests.fixtures.server import Server

COMPLETING = dedent(
    """
    import json
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            config.set_max_batch_size(8)
            config.set_dynamic_batching()
            config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [2]})
            config.add_output({"name": "SEEN", "data_type": "TYPE_STRING", "dims": [1]})
            return config

        def initialize(self, args):
            self.seen = args["model_config"]

        def execute(self, requests):
            text = np.array([[self.seen.encode()]], dtype=np.object_)
            return [
                pb_utils.InferenceResponse([pb_utils.Tensor("SEEN", text)]) for _ in requests
            ]
    """
)
REFUSED = {
    "nameless": (
        'config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [0]})',
        "Invalid argument: model input 'IN' dimension must be integer >= 1, or -1 to indicate a "
        "variable-size dimension for nameless",
    ),
    "rescheduled": (
        'del config.as_dict()["dynamic_batching"]; config.as_dict()["sequence_batching"] = {}',
        "Invalid argument: Cannot update scheduling choice from dynamic_batching to "
        "dynamic_batching when auto-completing.",
    ),
    "larger": (
        "config.set_max_batch_size(2)",
        "Internal: ValueError: configuration specified max_batch_size 4, but in "
        "auto-complete-config function for model 'larger' specified max_batch_size 2",
    ),
}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "models"


def write(folder, source, config=None):
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(source)
    if config is not None:
        (folder / "config.pbtxt").write_text(config)


def config_of(server: Server, model: str):
    answer = server.get(f"/v2/models/{model}/config")
    assert answer.status == 200, answer
    return answer.json()


def test_initialize_and_clients_see_one_completed_configuration(serve, root):
    write(root / "m", COMPLETING)
    write(root / "two", COMPLETING, "instance_group { count: 2 }")
    server = serve(root)
    inputs = [{"name": "IN", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]
    for model in ("m", "two"):
        told = config_of(server, model)
        for _ in range(4):  # both instances of the second
            seen = server.infer(model, {"inputs": inputs}).json()["outputs"][0]["data"][0]
            assert json.loads(seen) == told
    assert config_of(server, "m") == {
        "name": "m",
        "platform": "",
        "backend": "python",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 8,
        "input": [
            {
                "name": "IN",
                "data_type": "TYPE_FP32",
                "format": "FORMAT_NONE",
                "dims": [2],
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": False,
                "is_non_linear_format_io": False,
            }
        ],
        "output": [
            {
                "name": "SEEN",
                "data_type": "TYPE_STRING",
                "dims": [1],
                "label_filename": "",
                "is_shape_tensor": False,
                "is_non_linear_format_io": False,
            }
        ],
        "batch_input": [],
        "batch_output": [],
        "optimization": {
            "priority": "PRIORITY_DEFAULT",
            "input_pinned_memory": {"enable": True},
            "output_pinned_memory": {"enable": True},
            "gather_kernel_buffer_threshold": 0,
            "eager_batching": False,
        },
        "dynamic_batching": {
            "preferred_batch_size": [8],
            "max_queue_delay_microseconds": 0,
            "preserve_ordering": False,
            "priority_levels": 0,
            "default_priority_level": 0,
            "priority_queue_policy": {},
        },
        "instance_group": [
            {
                "name": "m",
                "kind": "KIND_CPU",
                "count": 1,
                "gpus": [],
                "secondary_devices": [],
                "profile": [],
                "passive": False,
                "host_policy": "",
            }
        ],
        "default_model_filename": "model.py",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
    }


def test_a_completion_that_can_not_be_served_fails_the_load_with_its_reason(serve, root):
    for name, (statement, _) in REFUSED.items():
        write(
            root / name,
            "class TritonPythonModel:\n"
            "    @staticmethod\n"
            f"    def auto_complete_config(config):\n        {statement}\n        return config\n"
            "    def initialize(self, args):\n        raise AssertionError('never')\n",
            "max_batch_size: 4 dynamic_batching {}",
        )
    server = serve(root, flags=["--model-control-mode=explicit"])
    for name, (_, reason) in REFUSED.items():
        answer = server.load(name)
        assert answer.status == 400
        assert answer.json()["error"].startswith(
            f"load failed for model '{name}': version 1 is at UNAVAILABLE state: {reason}"
        )
    rows = {row["name"]: row for row in server.index()}
    for name, (_, reason) in REFUSED.items():
        assert rows[name]["state"] == "UNAVAILABLE"
        assert rows[name]["reason"].startswith(reason)


def test_an_estimator_that_declares_only_its_input_answers_with_any_output(serve, root):
    features = np.arange(12.0).reshape(6, 2)
    estimator = LinearRegression().fit(features, features.sum(axis=1))
    (root / "sum" / "1").mkdir(parents=True)
    joblib.dump(estimator, root / "sum" / "1" / "model.joblib")
    (root / "sum" / "config.pbtxt").write_text(
        'backend: "sklearn" max_batch_size: 8\ninput { name: "x" data_type: TYPE_FP64 dims: [2] }\n'
    )
    server = serve(root)
    assert config_of(server, "sum")["input"][0]["name"] == "x"
    tensor = {"name": "x", "datatype": "FP64", "shape": [2, 2], "data": [[1, 2], [3, 4]]}
    answer = server.infer("sum", {"inputs": [tensor], "outputs": [{"name": "predict"}]})
    assert answer.status == 200, answer
    (output,) = answer.json()["outputs"]
    assert output["shape"] == [2, 1]
    assert output["data"] == pytest.approx([3.0, 7.0])
    refused = server.infer("sum", {"inputs": [tensor | {"name": "y"}]})
    assert refused.status == 400
    assert "unexpected inference input 'y' for model 'sum'" in refused.json()["error"]
