import sys

import numpy as np
import pytest

from mpserve.errors import ErrorCode, LoadError
from mpserve.runtimes.lightgbm import LightGBMRuntime

from .conformance import RuntimeConformance
from .plain import PlainRequest, PlainResponses, mlserver_context, outputs, tensor, triton_context

lightgbm = pytest.importorskip("lightgbm")

MATRIX = np.random.default_rng(0).normal(size=(60, 4))
FEATURES = MATRIX[:3]


@pytest.fixture(scope="module")
def binary():
    labels = (MATRIX[:, 0] > 0).astype(int)
    return train(labels, {"objective": "binary"})


@pytest.fixture(scope="module")
def multiclass():
    labels = np.digitize(MATRIX[:, 0], [-0.5, 0.5])
    return train(labels, {"objective": "multiclass", "num_class": 3})


def train(labels, parameters):
    quiet = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2}
    return lightgbm.train(parameters | quiet, lightgbm.Dataset(MATRIX, labels), 3)


@pytest.fixture
def runtime():
    return LightGBMRuntime(PlainResponses())


@pytest.fixture
def load(tmp_path, runtime):
    def load(booster, name="model.bst"):
        booster.save_model(tmp_path / name)
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))
        return lambda *inputs, **options: runtime.execute([PlainRequest(*inputs, **options)])[0]

    yield load
    runtime.unload()


class TestConformance(RuntimeConformance):
    registered_name = "lightgbm"

    @pytest.fixture
    def runtime(self):
        return LightGBMRuntime(PlainResponses())

    @pytest.fixture
    def context(self, tmp_path, binary):
        binary.save_model(tmp_path / "model.bst")
        return mlserver_context(tmp_path, {"name": "m"})

    @pytest.fixture
    def broken_context(self, tmp_path):
        (tmp_path / "model.bst").write_bytes(b"junk")
        return mlserver_context(tmp_path, {"name": "m"})

    @pytest.fixture
    def good_request(self):
        return PlainRequest(tensor("x", FEATURES))

    @pytest.fixture
    def bad_request(self):
        return PlainRequest(tensor("x", FEATURES[:, :1]))


@pytest.mark.parametrize("name", ["model.bst", "model.txt"])
def test_the_answer_is_the_librarys_own(load, binary, name):
    (output,) = load(binary, name)(tensor("x", FEATURES)).output_tensors()
    assert (output.name(), output.datatype_name(), output.shape()) == ("predict", "FP64", [3, 1])
    assert output.parameters_json() == '{"content_type":"np"}'
    assert output.as_numpy().ravel() == pytest.approx(binary.predict(FEATURES))


def test_a_model_of_several_classes_answers_with_a_column_for_each(load, multiclass):
    answer = outputs(load(multiclass)(tensor("x", FEATURES)))
    assert answer["predict"] == pytest.approx(multiclass.predict(FEATURES))
    assert answer["predict"].shape == (3, 3)


def test_requests_that_are_alike_are_predicted_together(load, binary, runtime):
    load(binary)
    calls = []
    estimator = runtime._model._estimator
    predict = estimator.predict
    estimator.predict = lambda rows: calls.append(len(rows)) or predict(rows)
    one, other = runtime.execute([PlainRequest(tensor("x", FEATURES[:n])) for n in (1, 2)])
    assert calls == [3]
    assert outputs(one)["predict"].ravel() == pytest.approx(binary.predict(FEATURES[:1]))
    assert outputs(other)["predict"].ravel() == pytest.approx(binary.predict(FEATURES[:2]))


@pytest.mark.parametrize("wanted", [["predict_proba"], ["zzz", "predict"], ["predict"]])
def test_it_predicts_whatever_outputs_are_asked_for_as_with_mlserver(load, binary, wanted):
    text = {"predict": {"content_type": "str"}}
    answered = load(binary)(tensor("x", FEATURES), outputs=wanted, output_parameters=text)
    assert outputs(answered)["predict"].ravel() == pytest.approx(binary.predict(FEATURES))
    assert [one.name() for one in answered.output_tensors()] == ["predict"]


def test_a_wrong_number_of_features_is_the_clients_mistake(load, binary):
    failure = load(binary)(tensor("x", FEATURES[:, :2])).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert "number of features" in failure.message


def test_a_triton_model_lies_in_its_version_directory(tmp_path, runtime, binary):
    (tmp_path / "1").mkdir()
    binary.save_model(tmp_path / "1" / "model.txt")
    assert runtime.load(triton_context(tmp_path)).config.signature.open_inputs


def test_without_lightgbm_the_extra_is_named(tmp_path, runtime, monkeypatch):
    (tmp_path / "model.bst").touch()
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(LoadError, match=r"pip install 'mpserve\[lightgbm\]'"):
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))
