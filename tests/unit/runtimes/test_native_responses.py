"""Runtimes on the native requests and responses that workers have."""

import gc
import json

import numpy as np
import pytest

pytest.importorskip("mpserve._native")

from mpserve import _native
from mpserve.compat.mlserver.types import InferenceResponse
from mpserve.errors import ErrorCode, Failure, InvalidRequest
from mpserve.runtimes.estimator import EstimatorModel
from mpserve.runtimes.mlserver_wire import to_answer, to_inference_request
from mpserve.runtimes.responses import Answer, NativeResponses, Output, answer_each
from mpserve.runtimes.sklearn import RULES
from tests.fixtures.native_requests import block, context, request

from .plain import mlserver_context, texts

pytestmark = pytest.mark.native

OPEN = context(output_names=(), open_outputs=True)
ARRAYS = [
    np.array([[True, False]]),
    np.array([[1, 2]], dtype="u1"),
    np.array([[1, 2]], dtype="u8"),
    np.array([[-1, 2]], dtype="i8"),
    np.array([[1.5, 2]], dtype="f2"),
    np.array([[1.5, 2]], dtype="f4"),
    np.array([[1.5, 2]], dtype="f8"),
]


class Echo:
    """An estimator that returns what it is given."""

    def __init__(self):
        self.kept = None

    def predict(self, features):
        self.kept = features
        return features


def sent(one_request, response):
    """The answer's outputs as (name, datatype, shape, parameters, bytes)."""
    answer = _native.LoopbackAnswer(one_request, response)
    assert answer.error == ""
    return answer.outputs()


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: array.dtype.name)
def test_an_estimators_array_goes_out_as_it_came_in(tmp_path, array):
    model = EstimatorModel(Echo(), rules=RULES, context=mlserver_context(tmp_path, {"name": "m"}))
    given = request({"x": array}, context=OPEN)
    (response,) = answer_each([given], NativeResponses(), model.predict)
    ((name, _, shape, parameters, data),) = sent(given, response)
    assert (name, shape, bytes(data)) == ("predict", [1, 2], array.tobytes())
    assert json.loads(parameters) == {"content_type": "np"}


def test_the_estimator_looks_into_the_block_and_keeps_it(tmp_path):
    echo = Echo()
    model = EstimatorModel(echo, rules=RULES, context=mlserver_context(tmp_path, {"name": "m"}))
    place = block({"x": np.array([[1.0, 2.0]])}, context=OPEN)
    model.predict(place.request())
    gc.collect()
    assert place.is_leased
    assert not echo.kept.flags.writeable
    echo.kept = None
    gc.collect()
    assert not place.is_leased


@pytest.mark.parametrize("array", [*ARRAYS, texts("a", "é").reshape(1, 2)])
def test_an_mlserver_request_and_response_carry_the_same_elements(array):
    given = request({"x": array}, context=OPEN, request_id="id-1", outputs=[("x", '{"a":1}')])
    seen = to_inference_request(given)
    assert (seen.id, seen.outputs[0].name, seen.outputs[0].parameters.a) == ("id-1", "x", 1)
    echo = InferenceResponse(model_name="m", outputs=[dict(one) for one in seen.inputs])
    response = NativeResponses().answer(to_answer(echo))
    ((name, _, shape, parameters, data),) = sent(given, response)
    assert (name, shape, parameters) == ("x", [1, 2], "")
    if array.dtype != object:
        assert bytes(data) == array.tobytes()
    else:
        assert bytes(data) == b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xa9"


def test_parameters_of_the_response_and_of_tensors_are_sent():
    output = Output(name="o", array=np.zeros((1, 1)), parameters_json='{"content_type":"np"}')
    response = NativeResponses().answer(Answer(outputs=[output], parameters_json='{"note":3}'))
    answer = _native.LoopbackAnswer(request({}, context=OPEN), response)
    assert json.loads(answer.parameters) == {"note": 3}
    assert json.loads(answer.outputs()[0][3]) == {"content_type": "np"}


@pytest.mark.parametrize(
    ("code", "sent_code"),
    [
        (ErrorCode.INVALID_ARGUMENT, ErrorCode.INVALID_ARGUMENT),
        (ErrorCode.NOT_FOUND, ErrorCode.NOT_FOUND),
        (ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE),
        (ErrorCode.UNSUPPORTED, ErrorCode.UNSUPPORTED),
        (ErrorCode.CANCELLED, ErrorCode.CANCELLED),
    ],
)
def test_an_error_is_sent_with_its_code_and_words(code, sent_code):
    response = NativeResponses().refuse(Failure(code=code, message="not so"))
    answer = _native.LoopbackAnswer(request({}, context=OPEN), response)
    assert (ErrorCode(answer.status), answer.error) == (sent_code, "not so")


def test_a_request_that_fails_keeps_no_block():
    def refuse(one_request):
        features = one_request.inputs()[0].as_numpy()
        raise InvalidRequest(f"not {features.tolist()}")

    place = block({"x": np.array([1.0])}, context=OPEN)
    (response,) = answer_each([place.request()], NativeResponses(), refuse)
    assert response.has_error()
    assert not place.is_leased
