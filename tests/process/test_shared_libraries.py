"""Libraries that compute in threads, loaded once for all instances of a model."""

from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent, indent

import pytest

from tests.fixtures import onnx_models
from tests.fixtures.pace import within
from tests.fixtures.torch_library import SYSTEM_PACKAGES, need_torch
from tests.fixtures.waiting import wait_until

INSTANCES = 2
REQUESTS = 8
CONFIG = f"instance_group {{ count: {INSTANCES} kind: KIND_CPU }}"
# More than one, so that the library makes a pool; the environment's word is the strongest.
THREADS = {"OMP_NUM_THREADS": "2"}
SHARED = {"mebibytes": "0", "MPSERVE_SHARE_WEIGHTS": "true"}
PREDICTS = """
import os

import numpy as np
import triton_python_backend_utils as pb_utils

FEATURES = np.random.default_rng(0).normal(size=(4000, 8))
LABELS = (FEATURES[:, 0] > 0).astype(int)
{imports}


def threads():
    return len(os.listdir("/proc/self/task"))


class TritonPythonModel:
    def initialize(self, args):
        before = threads()
{fit}
        self.first = float(np.sum(self.predict()))
        assert threads() > before, "the library has made no pool: this proves nothing"
        self.loaded_in = os.getpid()

    def predict(self):
        return {predict}

    def execute(self, requests):
        assert os.getpid() != self.loaded_in
        assert float(np.sum(self.predict())) == self.first
        outputs = [pb_utils.Tensor("MEBIBYTES", np.full(1, threads()))]
        return [pb_utils.InferenceResponse(outputs) for _ in requests]
"""
LIBRARIES = {
    "sklearn": {
        "imports": "from sklearn.ensemble import HistGradientBoostingClassifier as Model",
        "fit": "self.model = Model(max_iter=3).fit(FEATURES, LABELS)",
        "predict": "self.model.predict(FEATURES)",
    },
    "xgboost": {
        "imports": "import xgboost",
        "fit": """
            data = xgboost.DMatrix(FEATURES, LABELS)
            self.model = xgboost.train({"nthread": 2, "objective": "binary:logistic"}, data, 3)
        """,
        "predict": "self.model.predict(xgboost.DMatrix(FEATURES))",
    },
    "torch": {
        "imports": f"import sys; sys.path.append({str(SYSTEM_PACKAGES)!r}); import torch",
        "fit": """
            torch.manual_seed(0)
            self.model = torch.nn.Sequential(torch.nn.Linear(8, 512), torch.nn.ReLU())
            self.rows = torch.ones(4000, 8)
        """,
        "predict": "self.model(self.rows).detach().sum().item()",
    },
    "lightgbm": {
        "imports": "import lightgbm",
        "fit": """
            data = lightgbm.Dataset(FEATURES, LABELS)
            told = {"objective": "binary", "verbosity": -1, "num_threads": 2}
            self.model = lightgbm.train(told, data, 3)
        """,
        "predict": "self.model.predict(FEATURES, num_threads=2)",
    },
}


def _pids(server) -> set[int]:
    return {process.pid for process in server.processes_named("mps:m")}


def asked(server, name="m") -> int:
    question = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}
    answer = server.infer(name, question)
    assert answer.status == 200, answer
    return answer.json()["outputs"][0]["data"][0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_has_computed_with_openmp_is_forked_and_computes_in_threads_again(
    serve, repository, library
):
    if library == "torch":
        need_torch()
    else:
        pytest.importorskip(library)
    parts = LIBRARIES[library]
    source = PREDICTS.format(**{**parts, "fit": indent(dedent(parts["fit"]).strip(), " " * 8)})
    repository.add("hoarder", "m", config=CONFIG, parameters=SHARED, files={"1/model.py": source})
    server = serve(repository.path, environment=THREADS)
    (template,) = server.processes_named("mps template:m")
    instances = server.processes_named("mps:m")
    assert [one.ppid() for one in instances] == [template.pid] * INSTANCES
    assert template.num_threads() == 1
    with ThreadPoolExecutor(INSTANCES) as clients:
        counts = list(clients.map(lambda _: asked(server), range(REQUESTS)))
    assert min(counts) > 1
    instances[0].kill()
    wait_until(
        lambda: len(_pids(server) - {instances[0].pid}) == INSTANCES,
        deadline=within(10),
        what="another fork",
    )
    assert asked(server) > 1


def test_a_graph_of_onnxruntime_is_forked(serve, tmp_path):
    pytest.importorskip("onnxruntime")
    model = tmp_path / "models" / "m"
    onnx_models.sum_and_difference(model / "1" / "model.onnx")
    (model / "config.pbtxt").write_text(
        f'backend: "onnxruntime"\n{CONFIG}\n'
        'parameters { key: "MPSERVE_SHARE_WEIGHTS" value { string_value: "true" } }\n'
    )
    server = serve(tmp_path / "models")
    (template,) = server.processes_named("mps template:m")
    assert [one.ppid() for one in server.processes_named("mps:m")] == [template.pid] * INSTANCES
    question = {
        "inputs": [
            {"name": name, "shape": [1, 4], "datatype": "FP32", "data": [[1, 2, 3, 4]]}
            for name in ("INPUT0", "INPUT1")
        ]
    }
    with ThreadPoolExecutor(INSTANCES) as clients:
        answers = list(clients.map(lambda _: server.infer("m", question), range(REQUESTS)))
    assert [one.status for one in answers] == [200] * REQUESTS
    assert answers[0].json()["outputs"][0]["data"] == [2, 4, 6, 8]


def test_threads_that_onnxruntime_is_asked_for_are_no_part_of_a_fork(serve, tmp_path):
    pytest.importorskip("onnxruntime")
    model = tmp_path / "models" / "m"
    onnx_models.sum_and_difference(model / "1" / "model.onnx")
    wanted = {"MPSERVE_SHARE_WEIGHTS": "true", "intra_op_thread_count": "3"}
    (model / "config.pbtxt").write_text(
        'backend: "onnxruntime"\n'
        + "".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
            for key, value in wanted.items()
        )
    )
    server = serve(tmp_path / "models", flags=["--model-control-mode=explicit"])
    answer = server.load("m")
    assert answer.status == 400
    assert "has started 2 threads while loading" in answer.json()["error"]
