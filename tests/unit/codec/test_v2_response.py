"""Answers as they go on the wire."""

import json

import msgspec
import numpy as np
import pytest

from mpserve.codec.v2_response import AnswerContext, EncodedAnswer, encode
from mpserve.dialect import MLSERVER, TRITON, Dialect
from mpserve.errors import InternalError, InvalidRequest
from mpserve.model.request import InferRequest, RequestedOutput


class Output(msgspec.Struct):
    """An output as a worker would give it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    parameters_json: str = ""


def output(word: str, shape: tuple[int, ...], data: bytes, **more: str) -> Output:
    return Output("y", word, shape, memoryview(data), **more)


def answer(
    *outputs: Output,
    dialect: Dialect = TRITON,
    version: str = "1",
    parameters: str = "",
    **request: object,
) -> EncodedAnswer:
    context = AnswerContext(
        dialect=dialect, model_name="m", model_version=version, labels={"y": ("zero", "one")}
    )
    asked = InferRequest(inputs=(), **request)
    return encode(outputs, request=asked, parameters_json=parameters, context=context)


FLOATS = output("FP32", (2,), np.array([0.1, np.nan], "<f4").tobytes())


def test_triton_writes_its_members_in_its_order():
    assert answer(FLOATS, id="7", parameters='{"a":1}').json_text == (
        b'{"id":"7","model_name":"m","model_version":"1","parameters":{"a":1},"outputs":'
        b'[{"name":"y","datatype":"FP32","shape":[2],"data":[0.10000000149011612,NaN]}]}'
    )


def test_mlserver_writes_its_members_in_its_order():
    one = output(
        "INT64", (2, 1), np.array([3, 4]).tobytes(), parameters_json='{"content_type":"np"}'
    )
    assert answer(one, dialect=MLSERVER, version="v1", id="7").json_text == (
        b'{"model_name":"m","model_version":"v1","id":"7","parameters":{},"outputs":'
        b'[{"name":"y","shape":[2,1],"datatype":"INT64","parameters":{"content_type":"np"},'
        b'"data":[3,4]}]}'
    )


def test_a_nan_that_signals_is_written_as_any_other():
    one = output("FP32", (1,), b"\x00\x00\x81\x7f")
    assert b'"data":[NaN]' in answer(one).json_text


@pytest.mark.parametrize("dialect", [TRITON, MLSERVER])
def test_an_output_without_parameters_names_none(dialect):
    (one,) = json.loads(answer(FLOATS, dialect=dialect).json_text)["outputs"]
    assert "parameters" not in one


@pytest.mark.parametrize(
    ("own", "told"),
    [("", {}), ("{}", {}), ('{"content_type":"np"}', {"content_type": "np"})],
)
def test_the_size_of_a_binary_output_joins_its_own_parameters(own, told):
    wanted = (RequestedOutput(name="y", binary=True),)
    one = output("FP32", (1,), b"1234", parameters_json=own)
    text = answer(one, outputs=wanted, dialect=MLSERVER).json_text
    assert json.loads(text)["outputs"][0]["parameters"] == {**told, "binary_data_size": 4}


def test_mlserver_has_no_nan_and_no_empty_version():
    text = answer(FLOATS, dialect=MLSERVER, version="", id="7").json_text
    assert b'"data":[0.10000000149011612,null]' in text
    assert b"model_version" not in text


@pytest.mark.parametrize("request_id", [None, ""])
def test_triton_leaves_out_an_id_that_was_not_given(request_id):
    assert b'"id"' not in answer(FLOATS, id=request_id).json_text


def test_binary_outputs_follow_in_order_and_are_not_copied():
    blob = bytearray(b"\1\2\3\4")
    encoded = answer(
        Output("a", "UINT8", (4,), memoryview(blob)),
        Output("b", "BOOL", (1,), memoryview(b"\1")),
        outputs=(RequestedOutput(name="a", binary=True), RequestedOutput(name="b")),
    )
    members = json.loads(encoded.json_text)["outputs"]
    assert members[0]["parameters"] == {"binary_data_size": 4}
    assert "data" not in members[0]
    assert members[1]["data"] == [True]
    blob[0] = 9
    assert bytes(encoded.blobs[0]) == b"\x09\2\3\4"


def test_an_empty_binary_output_is_no_reason_for_a_binary_answer():
    encoded = answer(output("FP32", (0,), b""), binary_by_default=True)
    assert encoded.blobs == ()
    assert b'"binary_data_size":0' in encoded.json_text


def test_classes_stand_in_for_the_values():
    wanted = (RequestedOutput(name="y", classification=2),)
    data = np.array([1, 3, 2], "<f4").tobytes()
    (one,) = json.loads(answer(output("FP32", (3,), data), outputs=wanted).json_text)["outputs"]
    assert one == {
        "name": "y", "datatype": "BYTES", "shape": [2], "data": ["3.000000:1:one", "2.000000:2"]
    }  # fmt: skip


@pytest.mark.parametrize("word", ["FP16", "BF16"])
def test_triton_sends_no_half_precision_as_json(word):
    with pytest.raises(InvalidRequest, match=f"sending {word} data via JSON is not supported"):
        answer(output(word, (1,), b"\0\0"))


def test_mlserver_sends_half_precision_as_json():
    text = answer(
        output("FP16", (1,), np.array([0.1], "<f2").tobytes()), dialect=MLSERVER
    ).json_text
    assert b'"data":[0.0999755859375]' in text


def test_bytes_that_are_no_text_must_be_asked_for_as_binary():
    with pytest.raises(InvalidRequest, match="binary_data"):
        answer(output("BYTES", (1,), b"\1\0\0\0\xff"))


@pytest.mark.parametrize(
    ("word", "shape", "data", "text"),
    [
        ("FP32", (3,), b"\0" * 8,
         "Failed to write 'data' field: output tensor shape does not match size of output for 'y'"),
        ("BYTES", (2,), b"\1\0\0\0a", "output tensor shape does not match size of output for 'y'"),
        ("BYTES", (1,), b"\5\0\0\0a", "ends within an element"),
        ("BYTES", (1,), b"\5\0", "ends within a length"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_its_shape_is_never_sent(word, shape, data, text):
    with pytest.raises(InternalError, match=text):
        answer(output(word, shape, data))
