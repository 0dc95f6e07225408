import ast
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from mpserve.runtimes.sklearn import SklearnRuntime
from mpserve.runtimes.xgboost import XGBoostRuntime
from tests.unit.runtimes.plain import (
    PlainRequest,
    PlainResponses,
    mlserver_context,
    outputs,
    tensor,
)

joblib = pytest.importorskip("joblib")
xgboost = pytest.importorskip("xgboost")

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_demo", EXAMPLES / "build_demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo(builder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    builder.build(folder)
    return folder


def served(runtime, folder, matrix):
    settings = json.loads((folder / "model-settings.json").read_text())
    runtime.load(mlserver_context(folder, settings))
    response = runtime.execute([PlainRequest(tensor("x", matrix))])[0]
    return outputs(response)["predict"].ravel().tolist()


def test_the_repository_holds_three_models(demo):
    files = {path.relative_to(demo).as_posix() for path in demo.rglob("*") if path.is_file()}
    assert files == {
        "simple/config.pbtxt",
        "simple/1/model.py",
        "mnist-svm/model-settings.json",
        "mnist-svm/model.joblib",
        "mushroom-xgboost/model-settings.json",
        "mushroom-xgboost/model.json",
    }


def test_settings_name_the_model_and_its_version(demo):
    assert json.loads((demo / "mnist-svm" / "model-settings.json").read_text()) == {
        "name": "mnist-svm",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v0.1.0"},
    }


def test_building_again_gives_the_same_bytes(builder, demo, tmp_path):
    builder.build(tmp_path)
    builder.build(tmp_path)
    for path in demo.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(demo)).read_bytes() == path.read_bytes(), path.name


def test_served_digits_are_the_librarys_own_and_mostly_right(builder, demo):
    images, labels = builder.digits()
    unseen = images[len(images) // 2 :]
    answer = served(SklearnRuntime(PlainResponses()), demo / "mnist-svm", unseen)
    assert answer == joblib.load(demo / "mnist-svm" / "model.joblib").predict(unseen).tolist()
    assert np.mean(answer == labels[len(images) // 2 :]) > 0.95


def test_served_mushrooms_are_the_librarys_own_and_mostly_right(builder, demo):
    features, is_poisonous = builder.mushrooms()
    assert features.shape == (4000, 126)
    answer = served(XGBoostRuntime(PlainResponses()), demo / "mushroom-xgboost", features)
    model = xgboost.XGBClassifier()
    model.load_model(demo / "mushroom-xgboost" / "model.json")
    assert answer == model.predict(features).tolist()
    assert np.mean(answer == is_poisonous) > 0.95
    assert 0.2 < np.mean(is_poisonous) < 0.8


def test_the_sample_requests_are_those_of_the_builder(builder):
    for name, request in builder.sample_requests().items():
        assert json.loads((EXAMPLES / "requests" / f"{name}.json").read_text()) == request


def test_the_triton_model_defines_its_class():
    module = ast.parse((EXAMPLES / "simple" / "1" / "model.py").read_text())
    assert "TritonPythonModel" in {getattr(node, "name", None) for node in module.body}
