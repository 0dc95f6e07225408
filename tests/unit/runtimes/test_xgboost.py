import sys

import numpy as np
import pytest

from mpserve.errors import ErrorCode, LoadError
from mpserve.runtimes.xgboost import XGBoostRuntime

from .conformance import RuntimeConformance
from .plain import PlainRequest, PlainResponses, mlserver_context, outputs, tensor, triton_context

xgboost = pytest.importorskip("xgboost")
pytest.importorskip("sklearn")

MATRIX = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
LABELS = (MATRIX[:, 0] > 0).astype(int)
FEATURES = MATRIX[:2]


def classifier():
    return xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(MATRIX, LABELS)


def regressor():
    return xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(MATRIX, MATRIX[:, 0])


def booster():
    matrix = xgboost.DMatrix(MATRIX, label=LABELS)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 3)


@pytest.fixture
def runtime():
    return XGBoostRuntime(PlainResponses())


@pytest.fixture
def load(tmp_path, runtime):
    def load(model, name="model.json"):
        model.save_model(tmp_path / name)
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))
        return lambda *inputs, **options: runtime.execute([PlainRequest(*inputs, **options)])[0]

    yield load
    runtime.unload()


class TestConformance(RuntimeConformance):
    registered_name = "xgboost"

    @pytest.fixture
    def runtime(self):
        return XGBoostRuntime(PlainResponses())

    @pytest.fixture
    def context(self, tmp_path):
        classifier().save_model(tmp_path / "model.json")
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


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
def test_a_classifier_predicts_labels_in_each_file_format(load, name):
    answer = outputs(load(classifier(), name)(tensor("x", FEATURES)))
    assert answer["predict"].dtype == np.int64
    assert answer["predict"].tolist() == classifier().predict(FEATURES)[:, None].tolist()


def test_probabilities_are_the_librarys_own(load):
    infer = load(classifier())
    answer = outputs(infer(tensor("x", FEATURES), outputs=["predict", "predict_proba"]))
    assert list(answer) == ["predict", "predict_proba"]
    assert answer["predict_proba"].dtype == np.float32
    assert answer["predict_proba"] == pytest.approx(classifier().predict_proba(FEATURES))


@pytest.mark.parametrize("model", [regressor, booster])
def test_what_is_no_classifier_is_loaded_as_a_regressor(load, model):
    infer = load(model())
    answer = outputs(infer(tensor("x", FEATURES)))
    assert answer["predict"].dtype == np.float32
    assert answer["predict"].shape == (2, 1)
    failure = infer(tensor("x", FEATURES), outputs=["predict_proba"]).failure
    assert failure.message == "XGBRegressor models do not support 'predict_proba"


def test_an_unknown_output_is_refused_in_the_words_of_mlserver(load):
    failure = load(classifier())(tensor("x", FEATURES), outputs=["transform"]).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert failure.message == (
        "XGBoostModel only supports 'predict' and 'predict_proba' as outputs"
        " (transform was received)"
    )


def test_a_wrong_number_of_features_is_told_without_a_trace_of_the_library(load):
    infer = load(classifier())
    for features in (FEATURES[:, :2], FEATURES[0]):
        failure = infer(tensor("x", features)).failure
        assert failure.code is ErrorCode.INVALID_ARGUMENT
        assert "Stack trace" not in failure.message


def test_a_triton_model_lies_in_its_version_directory(tmp_path, runtime):
    (tmp_path / "1").mkdir()
    classifier().save_model(tmp_path / "1" / "model.ubj")
    assert runtime.load(triton_context(tmp_path)).config.signature.open_inputs


@pytest.mark.parametrize("content", [b"junk", b"", b"\x80\x04\x95pickle", b"{\x80}"])
def test_a_file_that_is_no_model_is_named_with_the_reason(tmp_path, runtime, content):
    (tmp_path / "model.bst").write_bytes(content)
    with pytest.raises(LoadError, match=r"model\.bst' is no model of XGBoost: ") as caught:
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))
    assert "Stack trace" not in str(caught.value)


def test_without_xgboost_the_extra_is_named(tmp_path, runtime, monkeypatch):
    (tmp_path / "model.json").touch()
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(LoadError, match=r"pip install 'mpserve\[xgboost\]'"):
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))
