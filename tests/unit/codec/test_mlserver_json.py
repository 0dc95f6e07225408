"""MLServer's reading of a request, against what pydantic and FastAPI were seen to say."""

import json

import numpy as np
import pytest

from mpserve.codec import mlserver_json
from mpserve.codec.field_fault import InvalidFields, detail_body
from mpserve.codec.v2_json import RequestContext
from mpserve.errors import InvalidRequest
from mpserve.model.request import InferRequest
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype

CONTEXT = RequestContext(
    model_name="m",
    signature=Signature(open_inputs=True, open_outputs=True),
    max_input_bytes=1 << 20,
)
TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}


def read(document: object, *blobs: bytes) -> InferRequest:
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    return mlserver_json.decode(head + b"".join(blobs), json_bytes=len(head), context=CONTEXT)


def faults(document: object) -> list[dict]:
    with pytest.raises(InvalidFields) as caught:
        read(document)
    return json.loads(detail_body(caught.value.faults))["detail"]


def change(**changes: object) -> dict:
    return {"inputs": [{**TENSOR, **changes}]}


OBJECT = "Input should be a valid dictionary or object to extract fields from"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"", {"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}),
        (b"null", {"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}),
        (b"{", {"type": "json_invalid", "loc": ["body", 1], "msg": "JSON decode error",
                "input": {}, "ctx": {"error": "unexpected end of data"}}),
        ([1], {"type": "model_attributes_type", "loc": ["body"], "msg": OBJECT, "input": [1]}),
        ({}, {"type": "missing", "loc": ["body", "inputs"], "msg": "Field required", "input": {}}),
        ({"inputs": {}}, {"type": "list_type", "loc": ["body", "inputs"],
                          "msg": "Input should be a valid list", "input": {}}),
        ({"inputs": [1]}, {"type": "model_attributes_type", "loc": ["body", "inputs", 0],
                           "msg": OBJECT, "input": 1}),
        (change(name=1), {"type": "string_type", "loc": ["body", "inputs", 0, "name"],
                          "msg": "Input should be a valid string", "input": 1}),
        (change(shape=5), {"type": "list_type", "loc": ["body", "inputs", 0, "shape"],
                           "msg": "Input should be a valid list", "input": 5}),
        (change(shape=[1.5]),
         {"type": "int_from_float", "loc": ["body", "inputs", 0, "shape", 0], "input": 1.5,
          "msg": "Input should be a valid integer, got a number with a fractional part"}),
        (change(shape=["x"]),
         {"type": "int_parsing", "loc": ["body", "inputs", 0, "shape", 0], "input": "x",
          "msg": "Input should be a valid integer, unable to parse string as an integer"}),
        (change(shape=[None]), {"type": "int_type", "loc": ["body", "inputs", 0, "shape", 0],
                                "msg": "Input should be a valid integer", "input": None}),
        (change(shape=[1e30]),
         {"type": "int_parsing_size", "loc": ["body", "inputs", 0, "shape", 0], "input": 1e30,
          "msg": "Unable to parse input string as an integer, exceeded maximum size"}),
        (change(parameters=3), {"type": "model_attributes_type", "input": 3, "msg": OBJECT,
                                "loc": ["body", "inputs", 0, "parameters"]}),
        ({**change(), "parameters": {"content_type": 3}},
         {"type": "string_type", "loc": ["body", "parameters", "content_type"],
          "msg": "Input should be a valid string", "input": 3}),
        ({**change(), "parameters": {"headers": 4}},
         {"type": "dict_type", "loc": ["body", "parameters", "headers"],
          "msg": "Input should be a valid dictionary", "input": 4}),
        ({**change(), "outputs": [{}]}, {"type": "missing", "loc": ["body", "outputs", 0, "name"],
                                         "msg": "Field required", "input": {}}),
    ],
)  # fmt: skip
def test_a_fault_is_told_as_the_peer_tells_it(document, expected):
    assert faults(document) == [expected]


def test_all_faults_are_told_at_once_in_the_order_of_the_fields():
    found = faults({"id": 3, "parameters": 3, "outputs": 3})
    assert [one["loc"][1] for one in found] == ["id", "parameters", "inputs", "outputs"]


def test_a_large_wrong_value_is_not_sent_back():
    assert faults({"id": "x" * 5000, "more": 1})[0]["input"] is None


@pytest.mark.parametrize("shape", [["2"], [2.0], [True, 2]])
def test_shapes_are_read_as_laxly_as_pydantic_reads_them(shape):
    assert read(change(shape=shape)).inputs[0].shape in {(2,), (1, 2)}


def test_null_members_are_absent_ones():
    request = read({**change(parameters=None), "id": None, "outputs": None, "parameters": None})
    assert (request.id, request.outputs, request.parameters_json) == (None, (), "")


def test_parameters_go_to_the_model_as_they_are():
    request = read(
        {
            **change(parameters={"content_type": "np", "mine": [1]}),
            "parameters": {"content_type": "pd", "headers": {"A": "b"}, "binary_data_output": True},
        }
    )
    assert json.loads(request.inputs[0].parameters_json) == {"content_type": "np", "mine": [1]}
    assert json.loads(request.parameters_json) == {"content_type": "pd", "headers": {"A": "b"}}
    assert request.binary_by_default


@pytest.mark.parametrize(
    ("word", "data", "expected"),
    [("INT32", [1.9, True], [1, 1]), ("FP32", [None, "1.5"], [float("nan"), 1.5]),
     ("FP16", [0.5, 1], [0.5, 1.0]), ("BOOL", [0, 2], [False, True])],
)  # fmt: skip
def test_data_is_what_numpy_makes_of_it(word, data, expected):
    (tensor,) = read(change(datatype=word, data=data)).inputs
    dtype = {"INT32": "<i4", "FP32": "<f4", "FP16": "<f2", "BOOL": "?"}[word]
    assert np.array_equal(np.frombuffer(tensor.data, dtype), expected, equal_nan=word != "BOOL")


def test_a_scalar_is_one_element():
    (tensor,) = read(change(datatype="BYTES", shape=[1], data="abc")).inputs
    assert (tensor.datatype, tensor.data) == (Datatype.BYTES, b"\x03\0\0\0abc")


def test_binary_tensors_are_taken_too():
    item = {key: value for key, value in TENSOR.items() if key != "data"}
    item["parameters"] = {"binary_data_size": 8, "content_type": "np"}
    (tensor,) = read({"inputs": [item]}, b"12345678").inputs
    assert bytes(tensor.data) == b"12345678"
    assert json.loads(tensor.parameters_json) == {"content_type": "np"}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (change(data=[1]), r"shape \[2\] means 2 elements, but data has 1"),
        (change(data=["x", 1]), "can not be converted to FP32"),
        (change(datatype="BYTES", data=[1, 2]), "must be a string"),
        (change(datatype="UINT8", data=[1, 256]), "UINT8"),
        ({"inputs": [TENSOR, TENSOR]}, "given twice"),
        (change(shape=[-2]), "invalid dimensions"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_the_reason(document, text):
    with pytest.raises(InvalidRequest, match=text):
        read(document)


@pytest.mark.parametrize(
    ("document", "loc", "limit"),
    [
        ({"inputs": [0] * 5000}, ["body", "inputs"], 4096),
        ({"inputs": [], "outputs": [0] * 5000}, ["body", "outputs"], 4096),
        (change(shape=[1.5] * 100_000), ["body", "inputs", 0, "shape"], 32),
        (
            {"inputs": [], "parameters": {str(number): 0 for number in range(5000)}},
            ["body", "parameters"],
            4096,
        ),
    ],
    ids=["inputs", "outputs", "shape", "parameters"],
)
def test_long_lists_are_one_fault_and_not_one_for_each_item(document, loc, limit):
    (fault,) = faults(document)
    assert fault["type"] == "too_long"
    assert fault["loc"] == loc
    assert fault["msg"].startswith(f"List should have at most {limit} items after validation, not ")


def test_no_more_than_a_hundred_faults_are_told():
    assert len(faults({"inputs": [0] * 4000})) == 100
