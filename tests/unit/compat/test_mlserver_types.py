"""Shapes of `mlserver.types`. Expected values are what MLServer 1.7.1 (pydantic) answered."""

import copy
import json
import pickle

import numpy as np
import pytest

from mpserve.compat.mlserver.settings import ModelSettings
from mpserve.compat.mlserver.shape import ValidationError
from mpserve.compat.mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RequestInput,
    RequestOutput,
    State,
    TensorData,
)


def tensor(**changes):
    members = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}
    return RequestInput(**{**members, **changes})


def a_request():
    text = tensor(shape=[1], datatype="BYTES", data=[b"abc"])
    return InferenceRequest(id="a", inputs=[text], outputs=[RequestOutput(name="o")])


def test_shapes_print_like_pydantics():
    assert repr(tensor()) == (
        "RequestInput(name='x', shape=[1, 2], datatype='FP32', parameters=None,"
        " data=TensorData(root=[1, 2.5]))"
    )
    assert str(tensor().data) == "root=[1, 2.5]"


def test_dict_shows_everything_and_model_dump_what_was_set():
    assert tensor().dict() == {
        "name": "x",
        "shape": [1, 2],
        "datatype": "FP32",
        "parameters": None,
        "data": [1, 2.5],
    }
    assert tensor().model_dump() == {
        "name": "x",
        "shape": [1, 2],
        "datatype": "FP32",
        "data": [1, 2.5],
    }
    assert tensor().dict(exclude_unset=True) == tensor().model_dump()
    assert tensor().model_dump(include={"name"}) == {"name": "x"}
    assert "name" not in tensor().model_dump(exclude={"name"})


def test_json_holds_bytes_as_text():
    assert a_request().json() == (
        '{"id":"a","parameters":null,"inputs":[{"name":"x","shape":[1],"datatype":"BYTES",'
        '"parameters":null,"data":["abc"]}],"outputs":[{"name":"o","parameters":null}]}'
    )
    assert json.loads(a_request().model_dump_json()) == {
        "id": "a",
        "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["abc"]}],
        "outputs": [{"name": "o"}],
    }
    assert tensor(data=np.array([1.5])).json().endswith('"data":[1.5]}')


@pytest.mark.parametrize(
    ("changes", "member", "expected"),
    [
        ({"datatype": Datatype.FP32}, "datatype", "FP32"),
        ({"shape": ["1", 2.0]}, "shape", [1, 2]),
        ({"shape": (1, 2)}, "shape", [1, 2]),
        ({"shape": np.array([1, 2])}, "shape", [1, 2]),
        ({"shape": [np.int64(3)]}, "shape", [3]),
        ({"parameters": {"content_type": "np", "x": 1}}, "parameters",
         Parameters(content_type="np", x=1)),
        ({"data": TensorData([1])}, "data", TensorData(root=[1])),
        ({"data": b"abc"}, "data", TensorData(b"abc")),
    ],
)  # fmt: skip
def test_members_are_converted(changes, member, expected):
    assert getattr(tensor(**changes), member) == expected


@pytest.mark.parametrize(
    ("make", "location", "words"),
    [
        (InferenceRequest, ("inputs",), "Field required"),
        (lambda: RequestInput(name="x", shape=[1], datatype="FP32"), ("data",), "Field required"),
        (lambda: tensor(datatype="FOO"), ("datatype",), "'FP64' or 'BYTES'"),
        (lambda: tensor(name=3), ("name",), "valid string"),
        (lambda: tensor(shape=["q"]), ("shape", 0), "valid integer"),
        (lambda: tensor(shape=[1.5]), ("shape", 0), "valid integer"),
        (lambda: tensor(shape=3), ("shape",), "valid list"),
        (lambda: tensor(parameters=3), (), "valid dictionary"),
        (
            lambda: InferenceRequest(inputs=[{"name": "x"}]),
            ("inputs", 0, "shape"),
            "Field required",
        ),
    ],
)
def test_members_that_do_not_fit_are_named(make, location, words):
    with pytest.raises(ValidationError, match="validation error") as caught:
        make()
    first = caught.value.errors()[0]
    assert first["loc"][: len(location)] == location
    assert words in first["msg"]


def test_a_validation_error_is_a_value_error():
    assert issubclass(ValidationError, ValueError)


def test_parameters_keep_members_that_are_not_declared():
    parameters = Parameters(content_type="np", mood="good")
    parameters.more = 5
    assert (parameters.mood, parameters.headers) == ("good", None)
    assert parameters.model_extra == {"mood": "good", "more": 5}
    assert parameters.model_dump() == {"content_type": "np", "mood": "good", "more": 5}
    assert getattr(parameters, "absent", None) is None
    with pytest.raises(AttributeError, match="'Parameters' object has no attribute 'absent'"):
        _ = parameters.absent


def test_other_shapes_drop_members_that_are_not_declared():
    assert not hasattr(tensor(zork=3), "zork")
    with pytest.raises(ValueError, match='"RequestInput" object has no field "zork"'):
        tensor().zork = 3


def test_tensor_data_is_a_sequence_around_its_root():
    data = TensorData([1, 2, 3])
    assert (len(data), list(data), data[1], bool(TensorData([]))) == (3, [1, 2, 3], 2, False)
    assert data == TensorData(root=[1, 2, 3])
    assert data != [1, 2, 3]
    assert data.model_dump() == [1, 2, 3]


def test_tensor_data_of_an_array_makes_its_list_when_asked():
    array = np.array([[1.0, np.nan]])
    data = TensorData.of_array(array)
    assert data.array is array
    assert data.root == [1.0, None]
    data.root = [3]
    assert data.array is None
    assert list(data) == [3]
    assert TensorData.of_array(np.array([1])) == TensorData([1])


@pytest.mark.parametrize("duplicate", [
    lambda value: value.copy(),
    lambda value: value.model_copy(deep=True),
    copy.copy,
    copy.deepcopy,
    lambda value: pickle.loads(pickle.dumps(value)),
])  # fmt: skip
def test_copies_are_equal_and_independent(duplicate):
    original = a_request()
    twin = duplicate(original)
    assert twin == original
    twin.id = "other"
    assert original.id == "a"
    assert twin != original


def test_a_copy_may_replace_members():
    twin = a_request().model_copy(update={"parameters": None, "id": "z"})
    assert twin.id == "z"
    assert "parameters" in twin.model_fields_set


@pytest.mark.parametrize("parse", ["parse_obj", "model_validate"])
def test_objects_are_parsed_in_both_spellings(parse):
    parsed = getattr(InferenceRequest, parse)({
        "inputs": [{"name": "a", "shape": [1], "datatype": "INT32", "data": [[1]]}],
        "unknown": 1,
    })  # fmt: skip
    assert parsed.inputs[0].data.root == [[1]]
    assert InferenceRequest.model_validate(parsed) is parsed


@pytest.mark.parametrize("parse", ["parse_raw", "model_validate_json"])
def test_json_is_parsed_in_both_spellings(parse):
    assert getattr(InferenceRequest, parse)('{"inputs":[]}').inputs == []
    with pytest.raises(ValidationError, match="Invalid JSON"):
        getattr(InferenceRequest, parse)("{")


def test_construct_checks_nothing():
    made = InferenceRequest.construct(id=5)
    assert (made.id, made.outputs) == (5, None)
    assert not hasattr(made, "inputs")


def test_shapes_iterate_over_their_members():
    assert list(dict(a_request())) == ["id", "parameters", "inputs", "outputs"]
    assert list(InferenceResponse.model_fields) == [
        *("model_name", "model_version", "id", "parameters", "outputs")
    ]


def test_members_are_given_by_name_only():
    with pytest.raises(TypeError, match="positional"):
        Parameters("np")


def test_each_instance_has_its_own_lists():
    one, other = (ModelSettings(implementation="a.B") for _ in range(2))
    one.versions.append("v")
    assert other.versions == []


def test_the_index_is_a_list_of_rows():
    row = RepositoryIndexResponseItem(name="a", state=State.READY, reason="")
    index = RepositoryIndexResponse([row, {"name": "b", "state": "LOADING", "reason": ""}])
    assert [item.state for item in index] == ["READY", "LOADING"]
    assert index.json().startswith('[{"name":"a","version":null,"state":"READY","reason":""}')


def test_headers_of_a_request_are_made_when_they_are_looked_at():
    made = []
    parameters = Parameters.with_headers({"mine": 1}, lambda: made.append(1) or {"a": "b"})
    assert (parameters.mine, parameters.content_type, made) == (1, None, [])
    assert parameters.headers == {"a": "b"}
    assert parameters.headers is parameters.headers
    assert made == [1]


@pytest.mark.parametrize(
    "look",
    [
        repr, str, dict, Parameters.model_dump, Parameters.model_copy, copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)), lambda one: one.model_dump_json(),
    ],
)  # fmt: skip
def test_headers_of_a_request_are_like_given_ones(look):
    given = Parameters(mine=1, headers={"a": "b"})
    assert look(Parameters.with_headers({"mine": 1}, given.headers.copy)) == look(given)


def test_headers_of_a_request_may_be_replaced():
    parameters = Parameters.with_headers({}, dict)
    parameters.headers = {"a": "b"}
    assert parameters == Parameters(headers={"a": "b"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"exclude": {"parameters": {"mine"}}}, {"parameters": {"other": 2}, "name": "x"}),
        ({"exclude": {"parameters": {"mine": True}}}, {"parameters": {"other": 2}, "name": "x"}),
        ({"exclude": {"parameters": ...}}, {"name": "x"}),
        ({"exclude": {"parameters"}}, {"name": "x"}),
        ({"exclude": {"name": False}}, {"parameters": {"mine": 1, "other": 2}, "name": "x"}),
        ({"include": {"parameters": {"mine"}}}, {"parameters": {"mine": 1}}),
        ({"include": {"name"}}, {"name": "x"}),
        ({"include": {"name"}, "exclude": {"name"}}, {}),
    ],
)  # fmt: skip
def test_parts_of_a_shape_are_left_out_of_its_dump(options, expected):
    wanted = RequestOutput(name="x", parameters=Parameters(mine=1, other=2))
    assert wanted.model_dump(**options) == expected


def test_parts_of_listed_shapes_are_left_out_of_a_dump():
    inputs = [tensor(), tensor(name="y", parameters=Parameters(mine=1, other=2))]
    request = InferenceRequest(id="a", inputs=inputs)
    each = {"inputs": {"__all__": {"parameters": {"mine"}, "data": True}}}
    dumped = request.dict(exclude=each)["inputs"]
    assert [one["name"] for one in dumped] == ["x", "y"]
    told = {"content_type": None, "headers": None, "other": 2}
    assert dumped[1] == {"name": "y", "shape": [1, 2], "datatype": "FP32", "parameters": told}
    without_first = request.dict(exclude={"inputs": {0: True}})
    assert [one["name"] for one in without_first["inputs"]] == ["y"]
    only_a_name = request.json(include={"inputs": {1: {"name"}}})
    assert json.loads(only_a_name) == {"inputs": [{"name": "y"}]}
