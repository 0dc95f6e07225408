"""Triton's reading of a request."""

import json

import numpy as np
import pytest

from mpserve.codec.v2_json import MAX_PARAMETERS, RequestContext, decode
from mpserve.errors import InvalidRequest, MalformedRequest
from mpserve.model.region import RegionUse
from mpserve.model.request import MAX_TENSORS, InferRequest, RequestedOutput, SequenceMark
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype

CONTEXT = RequestContext(model_name="m", signature=Signature(), max_input_bytes=4096)
TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}


def read(document: object, *blobs: bytes) -> InferRequest:
    head = json.dumps(document).encode()
    return decode(head + b"".join(blobs), json_bytes=len(head), context=CONTEXT)


def with_tensor(**changes: object) -> dict:
    return {"inputs": [{**TENSOR, **changes}]}


def test_a_request_is_read_whole():
    request = read(
        {
            "id": "7",
            "parameters": {"sequence_id": 5, "sequence_start": True, "priority": 3, "timeout": 9,
                           "binary_data_output": True, "mine": "x"},
            "inputs": [TENSOR],
            "outputs": [{"name": "y", "parameters": {"binary_data": True, "classification": 2}}],
        }
    )  # fmt: skip
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", Datatype.FP32, (2,))
    assert np.frombuffer(tensor.data, "<f4").tolist() == [1, 2]
    assert request.id == "7"
    assert request.sequence == SequenceMark(number=5, starts=True)
    assert (request.priority, request.timeout_us, request.binary_by_default) == (3, 9, True)
    assert json.loads(request.parameters_json) == {"mine": "x"}
    assert request.outputs == (RequestedOutput(name="y", binary=True, classification=2),)


def test_binary_tensors_are_taken_in_the_order_of_the_inputs():
    sizes = [{**TENSOR, "name": name, "parameters": {"binary_data_size": 8}} for name in "ab"]
    for one in sizes:
        del one["data"]
    request = read({"inputs": sizes}, b"a" * 8, b"b" * 8)
    assert [bytes(tensor.data) for tensor in request.inputs] == [b"a" * 8, b"b" * 8]


def test_unknown_parameters_of_tensors_go_to_the_model():
    request = read(with_tensor(parameters={"content_type": "str"}))
    assert json.loads(request.inputs[0].parameters_json) == {"content_type": "str"}


def test_ids_of_sequences_may_be_texts():
    request = read({**with_tensor(), "parameters": {"sequence_id": "s", "sequence_end": True}})
    assert request.sequence == SequenceMark(text="s", ends=True)


def test_the_first_fault_in_the_peers_order_wins():
    with pytest.raises(MalformedRequest, match="'id'"):
        read({"id": 1, "parameters": {"triton_a": 1}, "inputs": 3})
    with pytest.raises(InvalidRequest, match="reserved"):
        read({"parameters": {"triton_a": 1}, "inputs": 3})
    with pytest.raises(MalformedRequest, match="'name'"):
        read({"inputs": [{"datatype": 1}], "outputs": 3})
    head = json.dumps({**with_tensor(), "outputs": 3}).encode()
    with pytest.raises(InvalidRequest, match="additional input data"):
        decode(head + b"x", json_bytes=len(head), context=CONTEXT)


def test_too_many_elements_are_told_before_their_type():
    with pytest.raises(MalformedRequest, match="does not match true shape"):
        read(with_tensor(data=[1, 2, "x"]))
    with pytest.raises(MalformedRequest, match="non-number"):
        read(with_tensor(data=[1, "x", 3]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"shape": [1] * 33}, "33 dimensions, at most 32"),
        ({"shape": [0, 2**63], "data": []}, "invalid dimensions"),
        ({"shape": [2000], "data": []}, r"byte_size \(8000 bytes\)"),
        ({"datatype": "BF16"}, "BF16 data via JSON"),
        ({"data": None, "parameters": {"shared_memory_region": "r"}}, "But set 'data' 'shared"),
    ],
)
def test_what_can_not_be_is_refused(changes, text):
    with pytest.raises(InvalidRequest, match=text):
        read(with_tensor(**changes))


def in_region(**parameters):
    return {"name": "x", "shape": [2], "datatype": "FP32", "parameters": parameters}


def test_tensors_may_lie_in_regions_of_the_clients_memory():
    place = {"shared_memory_region": "r", "shared_memory_offset": 4, "shared_memory_byte_size": 8}
    wanted = [{"name": "y", "parameters": {**place, "binary_data": False}}]
    request = read({"inputs": [in_region(**place)], "outputs": wanted})
    use = RegionUse(name="r", offset=4, byte_size=8)
    assert (request.inputs[0].region, request.inputs[0].data) == (use, b"")
    assert request.inputs[0].parameters_json == ""
    assert request.outputs == (RequestedOutput(name="y", region=use),)
    assert request.regions == [use, use]


@pytest.mark.parametrize(
    "place",
    [
        {"shared_memory_region": 1},
        {"shared_memory_region": "r", "shared_memory_offset": -1},
        {"shared_memory_region": "r", "shared_memory_byte_size": "8"},
    ],
)
def test_places_in_regions_have_types(place):
    with pytest.raises(MalformedRequest, match="Unable to parse 'shared_memory_"):
        read({"inputs": [in_region(**place)]})


@pytest.mark.parametrize("other", ["classification", "binary_data"])
def test_outputs_in_shared_memory_take_no_other_form(other):
    parameters = {"shared_memory_region": "r", other: True if other == "binary_data" else 2}
    with pytest.raises(
        InvalidRequest, match=f"can't set both 'shared_memory_region' and '{other}'"
    ):
        read({**with_tensor(), "outputs": [{"name": "y", "parameters": parameters}]})


def test_a_json_part_past_the_limit_is_refused():
    with pytest.raises(InvalidRequest, match="exceeds the maximum allowed input size of 4096"):
        read({"more": "x" * 5000})


@pytest.mark.parametrize("depth", [99, 100])
def test_data_may_be_nested_to_the_limit(depth):
    nested: object = [1, 2]
    for _ in range(depth - 1):
        nested = [nested]
    assert len(read(with_tensor(data=nested)).inputs[0].data) == 8
    with pytest.raises(InvalidRequest, match="nesting depth"):
        read(with_tensor(data=[[nested]]))


def read_large(document: object) -> InferRequest:
    head = json.dumps(document).encode()
    context = RequestContext(model_name="m", signature=Signature(), max_input_bytes=1 << 20)
    return decode(head, json_bytes=len(head), context=context)


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_more_tensors_than_a_request_can_have_are_refused_unread(kind):
    items = [None] * (MAX_TENSORS + 1)
    with pytest.raises(InvalidRequest, match=f"got 4097 {kind} for model 'm', at most 4096"):
        read_large({**with_tensor(), kind: items})


@pytest.mark.parametrize("place", ["request", "tensor"])
def test_parameters_have_a_limit(place):
    many = {f"p{number}": number for number in range(MAX_PARAMETERS + 1)}
    document = {**with_tensor(), "parameters": many}
    if place == "tensor":
        document = with_tensor(parameters=many)
    with pytest.raises(InvalidRequest, match="got 4097 parameters in one place, at most 4096"):
        read_large(document)
