"""Flat JSON objects to requests, and answers to flat objects."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from mpserve.codec.generate_json import answer_text, decode, fitting_shape
from mpserve.codec.v2_json import RequestContext
from mpserve.codec.v2_response import AnswerContext
from mpserve.dialect import TRITON
from mpserve.errors import InvalidRequest, MalformedRequest
from mpserve.model.request import InferRequest
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype

SPECS = (
    TensorSpec(name="text", datatype=Datatype.BYTES, shape=(-1, 1)),
    TensorSpec(name="numbers", datatype=Datatype.FP32, shape=(-1, 2)),
)


def context(*specs: TensorSpec, **more) -> RequestContext:
    return RequestContext(
        model_name="m", signature=Signature(inputs=specs or SPECS, **more), max_input_bytes=1000
    )


def read(document: object) -> InferRequest:
    return decode(json.dumps(document).encode(), context=context())


def spec(*shape: int) -> TensorSpec:
    return TensorSpec(name="x", datatype=Datatype.FP32, shape=shape)


@pytest.mark.parametrize(
    ("shape", "count", "expected"),
    [
        ((4,), 4, (4,)),
        ((-1, 4), 4, (1, 4)),
        ((-1, 4), 8, (2, 4)),
        ((-1, -1), 6, (1, 6)),
        ((-1, 2, -1), 6, (1, 2, 3)),
        ((1,), 1, (1,)),
        ((-1,), 0, (0,)),
        ((), 1, ()),
    ],
)
def test_a_shape_is_made_to_fit(shape, count, expected):
    assert fitting_shape(spec(*shape), count) == expected


@pytest.mark.parametrize(
    ("shape", "count"), [((4,), 3), ((4,), 8), ((-1, 4), 5), ((0,), 1), ((2,), 0)]
)
def test_a_shape_that_can_not_fit_is_refused_in_the_peers_words(shape, count):
    text = "The schema can not convert input 'x' to tensor with proper shape"
    with pytest.raises(InvalidRequest, match=text):
        fitting_shape(spec(*shape), count)


def test_members_become_tensors_parameters_and_the_id():
    request = read(
        {"id": "7", "text": "hi", "temperature": 0.5, "parameters": {"numbers": [1, 2], "k": 3}}
    )
    assert request.id == "7"
    assert [(one.name, one.shape) for one in request.inputs] == [
        ("text", (1, 1)),
        ("numbers", (1, 2)),
    ]
    assert bytes(request.inputs[0].data) == b"\2\0\0\0hi"
    assert json.loads(request.parameters_json) == {"temperature": 0.5, "k": 3}


@pytest.mark.parametrize("document", [{"k": None}, {"k": {}}, {"k": []}, {"parameters": {"k": {}}}])
def test_a_parameter_of_another_type_is_refused(document):
    with pytest.raises(InvalidRequest, match="parameter 'k' has invalid type"):
        read(document)


@pytest.mark.parametrize("document", [[], "x", 1, {"parameters": 1}])
def test_a_body_of_another_form_is_refused(document):
    with pytest.raises(MalformedRequest, match="non-object"):
        read(document)


@pytest.mark.parametrize("document", [{"numbers": ["a", "b"]}, {"text": 1}, {"id": 1}])
def test_an_element_of_the_wrong_json_type_is_malformed(document):
    with pytest.raises(MalformedRequest):
        read(document)


def test_an_input_named_like_the_nested_object_is_refused():
    clash = TensorSpec(name="parameters", datatype=Datatype.FP32, shape=(1,))
    with pytest.raises(InvalidRequest, match="Keyword 'parameters' for nested schema also given"):
        decode(b"{}", context=context(clash))


def test_a_model_without_declared_inputs_can_not_be_asked():
    with pytest.raises(InvalidRequest, match="does not declare its inputs"):
        decode(b"{}", context=context(open_inputs=True))


def output(name: str, array: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        datatype="FP32",
        shape=array.shape,
        parameters_json="",
        data=memoryview(array.astype("<f4").tobytes()),
    )


def test_an_answer_is_flat_and_sorted_by_name():
    text = answer_text(
        [
            output("b", np.array([[1, 2]])),
            output("A", np.array([[0.5]])),
            output("none", np.zeros((0,))),
        ],
        request=InferRequest(inputs=(), id="9"),
        parameters_json='{"extra":true}',
        context=AnswerContext(dialect=TRITON, model_name="m", model_version="1"),
    )
    assert text == (
        b'{"A":0.5,"b":[1.0,2.0],"extra":true,"id":"9","model_name":"m","model_version":"1",'
        b'"none":[]}'
    )
