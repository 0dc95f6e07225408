"""MLServer's notebook on its repository API, step by step, with the models it uses."""

import importlib.util
from pathlib import Path

import joblib
import numpy as np
import pytest
import xgboost

ROOT = Path(__file__).parents[2]


def load_module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = load_module(ROOT / "examples" / "build_demo.py")


@pytest.fixture
def folder(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    demo.build_mnist_svm(models / "mnist-svm")
    demo.build_mushroom_xgboost(models / "mushroom-xgboost")
    return models


def states(server) -> dict[str, str]:
    return {row["name"]: row["state"] for row in server.index()}


def predicted(answer) -> list:
    assert answer.status == 200, answer
    (output,) = answer.json()["outputs"]
    assert output["name"] == "predict"
    return output["data"]


def test_the_notebook_of_mlservers_repository_api(start, folder):
    server = start(Path(), directory=folder)  # `mpserve start .`
    assert states(server) == {"mushroom-xgboost": "READY", "mnist-svm": "READY"}

    features, _ = demo.mushrooms()
    question = {"inputs": [demo.matrix_input("predict", features[-8:])]}
    library = xgboost.XGBClassifier()
    library.load_model(folder / "mushroom-xgboost" / "model.json")
    expected = library.predict(features[-8:]).tolist()
    assert set(expected) == {0, 1}, "these mushrooms would not show a constant answer"
    assert predicted(server.infer("mushroom-xgboost", question)) == expected

    assert server.unload("mushroom-xgboost").status == 200
    assert states(server) == {"mushroom-xgboost": "UNAVAILABLE", "mnist-svm": "READY"}
    refused = server.infer("mushroom-xgboost", question)
    assert (refused.status, refused.json()) == (
        404,
        {"error": "Model mushroom-xgboost not found"},
    )
    assert server.get("/v2/models/mushroom-xgboost/ready").status == 404
    assert server.get("/v2/health/ready").status == 200

    assert server.load("mushroom-xgboost").status == 200
    assert states(server) == {"mushroom-xgboost": "READY", "mnist-svm": "READY"}
    assert predicted(server.infer("mushroom-xgboost", question)) == expected


def test_digits_are_recognised_as_the_library_does(start, folder):
    server = start(folder)
    images, _ = demo.digits()
    library = joblib.load(folder / "mnist-svm" / "model.joblib")
    expected = library.predict(images[-32:]).tolist()
    answer = server.infer("mnist-svm", {"inputs": [demo.matrix_input("predict", images[-32:])]})
    assert predicted(answer) == expected
    assert len(np.unique(expected)) > 5
    assert answer.json()["model_version"] == demo.VERSION
