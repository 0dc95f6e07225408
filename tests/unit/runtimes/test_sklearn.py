import sys
from pathlib import Path

import numpy as np
import pytest

from mpserve.errors import ErrorCode, LoadError
from mpserve.runtimes.estimator import EstimatorModel
from mpserve.runtimes.sklearn import RULES, SklearnRuntime

from .conformance import RuntimeConformance
from .plain import (
    PlainRequest,
    PlainResponses,
    mlserver_context,
    outputs,
    tensor,
    texts,
    triton_context,
)

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.multioutput import MultiOutputClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

MATRIX = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.9, 0.1]])
LABELS = np.array([1, 0, 1, 0])
FEATURES = MATRIX[:2].astype(np.float32)


def classifier():
    return LogisticRegression().fit(MATRIX, LABELS)


class ListModel:
    def predict(self, features):
        return ["a"] * len(features)


class FrameModel:
    def predict(self, features):
        pd = pytest.importorskip("pandas")
        return pd.DataFrame({"label": ["x"] * len(features), "score": [0.5] * len(features)})


class EchoKind:
    """Says what it was given."""

    def predict(self, features):
        return [type(features).__name__]


class Counting:
    """Sums each row, and says with how many it came."""

    def predict(self, features):
        return np.stack([features.sum(axis=1), np.full(len(features), len(features))], axis=1)


class Broken:
    def predict(self, features):
        del features
        raise RuntimeError("the scale is broken")


@pytest.fixture
def runtime():
    return SklearnRuntime(PlainResponses())


@pytest.fixture
def load(tmp_path, runtime):
    def load(estimator, **settings):
        joblib.dump(estimator, tmp_path / "model.joblib")
        runtime.load(mlserver_context(tmp_path, {"name": "m", **settings}))
        return lambda *inputs, **options: runtime.execute([PlainRequest(*inputs, **options)])[0]

    yield load
    runtime.unload()


class TestConformance(RuntimeConformance):
    registered_name = "sklearn"

    @pytest.fixture
    def runtime(self):
        return SklearnRuntime(PlainResponses())

    @pytest.fixture
    def context(self, tmp_path):
        joblib.dump(classifier(), tmp_path / "model.joblib")
        return mlserver_context(tmp_path, {"name": "m"})

    @pytest.fixture
    def broken_context(self, tmp_path):
        (tmp_path / "model.joblib").write_bytes(b"junk")
        return mlserver_context(tmp_path, {"name": "m"})

    @pytest.fixture
    def good_request(self):
        return PlainRequest(tensor("x", FEATURES))

    @pytest.fixture
    def bad_request(self):
        return PlainRequest(tensor("x", FEATURES[:, :1]))


def test_predict_is_the_default_and_answers_in_two_dimensions(load):
    infer = load(classifier())
    answer = outputs(infer(tensor("x", FEATURES)))
    assert list(answer) == ["predict"]
    assert answer["predict"].dtype == np.int64
    assert answer["predict"].tolist() == [[1], [0]]


def test_outputs_come_in_the_order_asked_for_with_the_codec_of_arrays(load):
    infer = load(classifier())
    response = infer(tensor("x", FEATURES), outputs=["predict_proba", "predict"])
    proba, predict = response.output_tensors()
    assert (proba.name(), predict.name()) == ("predict_proba", "predict")
    assert proba.datatype_name() == "FP64"
    assert proba.shape() == [2, 2]
    assert proba.as_numpy() == pytest.approx(classifier().predict_proba(FEATURES))
    assert proba.parameters_json() == '{"content_type":"np"}'


def test_the_settings_name_the_method_of_requests_that_name_none(load):
    infer = load(classifier(), parameters={"extra": {"predict_fn": "decision_function"}})
    answer = outputs(infer(tensor("x", FEATURES)))
    assert list(answer) == ["decision_function"]
    scores = classifier().decision_function(FEATURES)
    assert answer["decision_function"].ravel() == pytest.approx(scores)
    assert list(outputs(infer(tensor("x", FEATURES), outputs=["predict"]))) == ["predict"]


def test_an_unknown_output_is_refused_in_the_words_of_mlserver(load):
    failure = load(classifier())(tensor("x", FEATURES), outputs=["predict", "zzz"]).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert failure.message == (
        "SKLearnModel only supports 'predict', 'predict_proba' and 'transform' as outputs"
        " (zzz was received)"
    )


def test_a_method_the_estimator_lacks_is_refused(load):
    infer = load(LinearRegression().fit(MATRIX, LABELS))
    failure = infer(tensor("x", FEATURES), outputs=["predict_proba"]).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert failure.message == (
        "<class 'sklearn.linear_model._base.LinearRegression'> models do not support 'predict_proba"
    )


def test_the_last_step_of_a_pipeline_is_named_when_it_lacks_a_method(load):
    infer = load(make_pipeline(StandardScaler(), LinearRegression()).fit(MATRIX, LABELS))
    failure = infer(tensor("x", FEATURES), outputs=["predict_proba"]).failure
    assert failure.message == (
        "<class 'sklearn.linear_model._base.LinearRegression'> models do not support 'predict_proba"
    )


def test_a_transformer_transforms_and_keeps_the_datatype(load):
    infer = load(StandardScaler().fit(MATRIX))
    answer = outputs(infer(tensor("x", FEATURES), outputs=["transform"]))
    assert answer["transform"].dtype == np.float32
    assert answer["transform"] == pytest.approx(StandardScaler().fit(MATRIX).transform(FEATURES))


def test_a_wrong_number_of_features_is_the_clients_mistake(load):
    failure = load(classifier())(tensor("x", FEATURES[:, :1])).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert "X has 1 features, but LogisticRegression is expecting 2 features" in failure.message


def test_several_tensors_need_a_content_type(load):
    infer = load(classifier())
    columns = [tensor("a", FEATURES[:, :1]), tensor("b", FEATURES[:, 1:])]
    failure = infer(*columns).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert failure.message == (
        "There was an error encoding / decoding the payload:"
        " The 'np' codec only supports a single input tensor (2 were received)"
    )


@pytest.mark.parametrize("where", ["request", "settings"])
def test_several_tensors_are_columns_of_a_frame(load, where):
    pytest.importorskip("pandas")
    settings = {"parameters": {"content_type": "pd"}} if where == "settings" else {}
    infer = load(EchoKind(), **settings)
    columns = [tensor("a", FEATURES[:, :1]), tensor("b", FEATURES[:, 1:])]
    parameters = {"content_type": "pd"} if where == "request" else None
    answer = outputs(infer(*columns, parameters=parameters))
    assert answer["predict"].tolist() == [[b"DataFrame"]]


def test_text_reaches_the_estimator_as_text_and_comes_back_as_bytes(load):
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    infer = load(pipeline.fit(["good day", "bad day"], ["pos", "neg"]))
    answer = outputs(infer(tensor("x", texts("good", "bad"))))
    assert answer["predict"].tolist() == [[b"pos"], [b"neg"]]


def test_a_content_type_of_text_is_a_list_for_the_estimator(load):
    infer = load(EchoKind())
    answer = outputs(infer(tensor("x", texts("good"), content_type="str")))
    assert answer["predict"].tolist() == [[b"list"]]


def test_a_list_of_text_is_told_to_be_text(load):
    (output,) = load(ListModel())(tensor("x", FEATURES)).output_tensors()
    assert output.parameters_json() == '{"content_type":"str"}'
    assert output.as_numpy().tolist() == [[b"a"], [b"a"]]


def test_a_frame_becomes_an_output_for_each_column(load):
    pytest.importorskip("pandas")
    answer = outputs(load(FrameModel())(tensor("x", FEATURES)))
    assert answer["label"].tolist() == [[b"x"], [b"x"]]
    assert answer["score"].tolist() == [[0.5], [0.5]]


def test_sparse_results_are_dense_on_the_wire(load):
    infer = load(TfidfVectorizer().fit(["good day", "bad day"]))
    answer = outputs(infer(tensor("x", texts("good")), outputs=["transform"]))
    assert answer["transform"].tolist() == [[0.0, 0.0, 1.0]]


def test_probabilities_of_several_targets_keep_the_rows_first(load):
    model = MultiOutputClassifier(LogisticRegression()).fit(MATRIX, np.c_[LABELS, 1 - LABELS])
    answer = outputs(load(model)(tensor("x", FEATURES), outputs=["predict_proba"]))
    assert answer["predict_proba"].shape == (2, 2, 2)
    assert answer["predict_proba"][:, 1] == pytest.approx(model.predict_proba(FEATURES)[1])


def test_an_output_can_be_asked_for_in_another_content_type(load):
    infer = load(ListModel())
    response = infer(
        tensor("x", FEATURES),
        outputs=["predict"],
        output_parameters={"predict": {"content_type": "base64"}},
    )
    (output,) = response.output_tensors()
    assert output.parameters_json() == '{"content_type":"base64"}'
    assert output.as_numpy().tolist() == [[b"YQ=="], [b"YQ=="]]


def test_the_estimator_gets_the_tensor_without_a_copy(load):
    seen = []

    class Keeper:
        def predict(self, features):
            seen.append(features)
            return features

    array = FEATURES.copy()
    context = mlserver_context(Path("/"), {"name": "m"})
    model = EstimatorModel(Keeper(), rules=RULES, context=context)
    model.predict(PlainRequest(tensor("x", array)))
    assert np.shares_memory(seen[0], array)


def test_a_batch_of_requests_is_one_call_with_the_answers_of_single_ones(tmp_path, runtime):
    joblib.dump(Counting(), tmp_path / "model.joblib")
    runtime.load(mlserver_context(tmp_path, {"name": "m"}))
    rows = [PlainRequest(tensor("x", MATRIX[[place]])) for place in range(4)]
    answers = [outputs(response)["predict"].tolist() for response in runtime.execute(rows)]
    assert answers == [[[row.sum(), 4.0]] for row in MATRIX]


def test_what_the_model_raises_is_told_by_its_last_line(load):
    failure = load(Broken())(tensor("x", FEATURES)).failure
    assert failure.code is ErrorCode.MODEL_FAILED
    assert failure.message == "RuntimeError: the scale is broken"


def test_a_triton_model_without_declared_tensors_takes_and_gives_any(tmp_path, runtime):
    (tmp_path / "1").mkdir()
    joblib.dump(classifier(), tmp_path / "1" / "model.pkl")
    signature = runtime.load(triton_context(tmp_path)).config.signature
    assert (signature.open_inputs, signature.open_outputs) == (True, True)
    kept = runtime.load(triton_context(tmp_path, complete_config=False)).config.signature
    assert (kept.open_inputs, kept.open_outputs) == (False, False)


def test_a_file_that_can_not_be_unpickled_is_named_with_the_reason(tmp_path, runtime):
    (tmp_path / "model.pkl").write_bytes(b"cnot_there\nModel\n.")
    with pytest.raises(LoadError, match=r"model\.pkl' can not be unpickled: ModuleNotFoundError"):
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))


def test_without_scikit_learn_the_extra_is_named(tmp_path, runtime, monkeypatch):
    (tmp_path / "model.joblib").touch()
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(LoadError, match=r"pip install 'mpserve\[sklearn\]'"):
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))
