"""Codecs. Expected values are what MLServer 1.7.1 answered, unless a test's name says otherwise."""

import datetime

import numpy as np
import pytest

from mpserve.compat.mlserver.codecs import (
    Base64Codec,
    DatetimeCodec,
    InputCodec,
    NumpyCodec,
    NumpyRequestCodec,
    StringCodec,
    StringRequestCodec,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
    register_input_codec,
)
from mpserve.compat.mlserver.codecs.batch_dimension import inject_batch_dimension
from mpserve.compat.mlserver.codecs.registry import (
    _input_codecs,
    find_input_codec,
    find_request_codec,
)
from mpserve.compat.mlserver.errors import CodecError, CodecNotFound
from mpserve.compat.mlserver.model import MLModel
from mpserve.compat.mlserver.settings import ModelParameters, ModelSettings
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
)

MOMENT = datetime.datetime(2021, 8, 24, 15, 1, 2)  # noqa: DTZ001  # the wire has none either


def tensor(data, shape, datatype, content_type=None, name="x"):
    parameters = Parameters(content_type=content_type) if content_type else None
    return RequestInput(name=name, shape=shape, datatype=datatype, data=data, parameters=parameters)


def request(*inputs, **members):
    return InferenceRequest(inputs=list(inputs), **members)


def model(**settings):
    return MLModel(ModelSettings(name="m", implementation=MLModel, **settings))


@pytest.mark.parametrize(
    ("array", "shape", "datatype", "data"),
    [
        (np.array([1, 2.5], dtype="f4"), [2, 1], "FP32", [1.0, 2.5]),
        (np.array([[1, 2], [3, 4]]), [2, 2], "INT64", [1, 2, 3, 4]),
        (np.array([True, False]), [2, 1], "BOOL", [True, False]),
        (np.array(["a", "bc"]), [2, 1], "BYTES", [b"a", b"bc"]),
        (np.array(["a", b"q"], dtype=object), [2, 1], "BYTES", ["a", b"q"]),
        (np.array([1.0, np.nan]), [2, 1], "FP64", [1.0, None]),
        (np.array([[["a"]]]), [1, 1, 1], "BYTES", [b"a"]),
        (np.zeros((0, 3)), [0, 3], "FP64", []),
        (np.array(5.0), [1], "FP64", [5.0]),
        (np.array([1, 2], dtype="f2"), [2, 1], "FP16", [1.0, 2.0]),
        (np.array([[1, 2]], dtype="u1"), [1, 2], "UINT8", [1, 2]),
        (np.array([1, 2], dtype=">i4"), [2, 1], "INT32", [1, 2]),
    ],
)
def test_arrays_are_encoded_with_a_batch_dimension(array, shape, datatype, data):
    output = NumpyCodec.encode_output("o", array)
    assert output.model_dump() == {
        "name": "o",
        "shape": shape,
        "datatype": datatype,
        "parameters": {"content_type": "np"},
        "data": data,
    }
    assert NumpyCodec.encode_input("o", array).model_dump() == output.model_dump()


def test_byte_strings_stay_apart_where_mlserver_joins_them():
    assert NumpyCodec.encode_output("o", np.array([b"a", b"bc"])).data.root == [b"a", b"bc"]


@pytest.mark.parametrize("array", [np.array([1 + 2j]), np.array(["2020-01-01"], dtype="M8[s]")])
def test_arrays_without_a_datatype_are_refused(array):
    with pytest.raises(KeyError):
        NumpyCodec.encode_output("o", array)


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "dtype", "decoded"),
    [
        ([1, 2, 3, 4], [2, 2], "FP32", "float32", [[1.0, 2.0], [3.0, 4.0]]),
        ([[1, 2], [3, 4]], [2, 2], "FP32", "float32", [[1.0, 2.0], [3.0, 4.0]]),
        ([1], [-1, 1], "INT64", "int64", [[1]]),
        (["a", "b"], [2], "BYTES", "<U1", ["a", "b"]),
        ([b"a", b"b"], [2, 1], "BYTES", "|S1", [[b"a"], [b"b"]]),
        ([True], [1], "BOOL", "bool", [True]),
        ([1.5], [1], "INT32", "int32", [1]),
        (np.array([1.0, 2.0]), [2], "FP32", "float32", [1.0, 2.0]),
        ([], [0, 4], "FP32", "float32", []),
    ],
)
def test_tensors_are_decoded_to_arrays_that_may_be_changed(data, shape, datatype, dtype, decoded):
    array = NumpyCodec.decode_input(tensor(data, shape, datatype))
    assert (array.dtype, array.tolist()) == (np.dtype(dtype), decoded)
    assert array.flags.writeable


def test_an_absent_number_is_nan():
    array = NumpyCodec.decode_input(tensor([None, 1.0], [2], "FP64"))
    np.testing.assert_equal(array, [np.nan, 1.0])


def test_a_single_text_is_one_element_where_mlserver_takes_its_first_letter():
    assert NumpyCodec.decode_input(tensor("abc", [1], "BYTES")).tolist() == ["abc"]


def test_elements_that_do_not_fit_the_shape_are_refused():
    with pytest.raises(ValueError, match=r"cannot reshape array of size 3 into shape \(2,2\)"):
        NumpyCodec.decode_input(tensor([1, 2, 3], [2, 2], "FP32"))


@pytest.mark.parametrize(
    ("codec", "payload", "encoded"),
    [
        (StringCodec, ["a", "é"], [b"a", b"\xc3\xa9"]),
        (StringCodec, [], []),
        (Base64Codec, [b"Python is fun", b"\xff\xfe"], [b"UHl0aG9uIGlzIGZ1bg==", b"//4="]),
        (Base64Codec, ["a"], [b"YQ=="]),
        (DatetimeCodec, [MOMENT], [b"2021-08-24T15:01:02"]),
        (DatetimeCodec, ["2021-08-24T15:01:02"], [b"2021-08-24T15:01:02"]),
    ],
)
def test_lists_are_encoded_as_columns_of_bytes(codec, payload, encoded):
    output = codec.encode_output("o", payload)
    assert output.model_dump() == {
        "name": "o",
        "shape": [len(payload), 1],
        "datatype": "BYTES",
        "parameters": {"content_type": codec.ContentType},
        "data": encoded,
    }
    as_text = codec.encode_input("o", payload, use_bytes=False)
    assert as_text.data.root == [element.decode() for element in encoded]


@pytest.mark.parametrize(
    ("codec", "data", "decoded"),
    [
        (StringCodec, ["a", "b"], ["a", "b"]),
        (StringCodec, [b"\xc3\xa9"], ["é"]),
        (StringCodec, "abc", ["abc"]),
        (StringCodec, b"abc", ["abc"]),
        (Base64Codec, ["UHl0aG9u", b"UHl0aG9u"], [b"Python", b"Python"]),
        (Base64Codec, ["not b64!!", b"\xff\xfe"], [b"not b64!!", b"\xff\xfe"]),
        (DatetimeCodec, [b"2021-08-24T15:01:02"], [MOMENT]),
        (
            DatetimeCodec,
            ["2021-08-24T15:01:02Z"],
            [MOMENT.replace(tzinfo=datetime.UTC)],
        ),
    ],
)
def test_bytes_are_decoded_to_lists(codec, data, decoded):
    assert codec.decode_input(tensor(data, [1], "BYTES")) == decoded


@pytest.mark.parametrize("codec", [StringCodec, Base64Codec])
def test_nested_elements_are_decoded_where_mlserver_loses_them(codec):
    assert codec.decode_input(tensor([["a"], ["b"]], [2, 1], "BYTES")) in (
        ["a", "b"],
        [b"a", b"b"],
    )


@pytest.mark.parametrize(("shape", "batched"), [((), [1]), ((3,), [3, 1]), ((2, 3), [2, 3])])
def test_shapes_get_a_batch_dimension(shape, batched):
    assert inject_batch_dimension(shape) == batched


def test_requests_of_one_tensor_have_a_name_of_their_own():
    response = NumpyRequestCodec.encode_response("m", np.array([1, 2]), "v")
    assert response.model_dump() == {
        "model_name": "m",
        "model_version": "v",
        "parameters": {"content_type": "np"},
        "outputs": [
            {
                "name": "output-1",
                "shape": [2, 1],
                "datatype": "INT64",
                "parameters": {"content_type": "np"},
                "data": [1, 2],
            }
        ],
    }
    assert StringRequestCodec.encode_request(["a"]).inputs[0].name == "input-1"


@pytest.mark.parametrize("count", [0, 2])
def test_requests_of_several_tensors_are_refused_by_the_codecs_of_one(count):
    inputs = [tensor([1], [1], "INT64") for _ in range(count)]
    with pytest.raises(CodecError) as caught:
        NumpyRequestCodec.decode_request(request(*inputs))
    assert str(caught.value) == (
        "There was an error encoding / decoding the payload:"
        f" The 'np' codec only supports a single input tensor ({count} were received)"
    )


@pytest.mark.parametrize(
    ("hint", "input_codec", "request_codec"),
    [
        (np.ndarray, NumpyCodec, None),
        (list[str], StringCodec, StringRequestCodec),
        (list[bytes], Base64Codec, None),
        (list[str | datetime.datetime], DatetimeCodec, None),
        (list[datetime.datetime], DatetimeCodec, None),
        (list[int], None, None),
        (dict, None, None),
        (str, None, None),
    ],
)
def test_codecs_are_found_by_type_hint(hint, input_codec, request_codec):
    assert find_input_codec(type_hint=hint) is input_codec
    assert find_request_codec(type_hint=hint) is request_codec


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (np.array([1]), NumpyCodec),
        (["a"], StringCodec),
        ([b"a"], Base64Codec),
        ([MOMENT], DatetimeCodec),
        ("a", None),
        ([1], None),
        (["a", 1], None),
        ({"a": 1}, None),
    ],
)
def test_codecs_are_found_by_payload(payload, codec):
    assert find_input_codec(payload=payload) is codec


def test_a_codec_of_the_user_is_found_by_its_content_type(monkeypatch):
    monkeypatch.setitem(_input_codecs, "mine", None)

    @register_input_codec
    class Mine(InputCodec):
        ContentType = "mine"

        @classmethod
        def decode_input(cls, request_input):
            return f"mine: {request_input.data.root}"

    assert model().decode(tensor([1], [1], "INT8", "mine")) == "mine: [1]"


class TestNegotiation:
    """Which codec wins: own content type, declared content type, default, none."""

    def test_an_input_is_decoded_by_its_content_type(self):
        assert model().decode(tensor(["a"], [1], "BYTES", "str")) == ["a"]
        assert model().decode(tensor(["a"], [1], "BYTES", "str"), NumpyCodec) == ["a"]

    def test_else_by_the_declared_content_type(self):
        declared = MetadataTensor(
            name="x", datatype="BYTES", shape=[-1], parameters=Parameters(content_type="str")
        )
        declaring = model(inputs=[declared])
        assert declaring.decode(tensor(["a"], [1], "BYTES"), NumpyCodec) == ["a"]
        assert declaring.decode(tensor(["a"], [1], "BYTES", "np")).tolist() == ["a"]

    @pytest.mark.parametrize("content_type", [None, "zzz"])
    def test_else_by_the_default_and_else_not_at_all(self, content_type):
        one = tensor([1], [1], "INT64", content_type)
        assert model().decode(one).root == [1]
        assert model().decode(one, NumpyCodec).tolist() == [1]

    def test_a_request_is_decoded_by_its_content_type_or_the_one_of_the_settings(self):
        inputs = [tensor([1], [1], "INT64")]
        asked = request(*inputs, parameters=Parameters(content_type="np"))
        assert model().decode_request(asked).tolist() == [1]
        settings = ModelParameters(content_type="np")
        assert model(parameters=settings).decode_request(request(*inputs)).tolist() == [1]

    @pytest.mark.parametrize("content_type", [None, "zzz"])
    def test_else_a_request_by_the_default_and_else_not_at_all(self, content_type):
        parameters = Parameters(content_type=content_type)
        asked = request(tensor([1], [1], "INT64"), parameters=parameters)
        assert model().decode_request(asked) is asked
        assert model().decode_request(asked, NumpyRequestCodec).tolist() == [1]

    def test_the_content_type_of_an_input_wins_over_the_one_of_its_request(self):
        asked = request(
            tensor(["q"], [1], "BYTES", "str"), parameters=Parameters(content_type="np")
        )
        assert model().decode_request(asked) == ["q"]

    def test_what_was_decoded_is_kept_and_never_dumped(self):
        one = tensor(["a"], [1], "BYTES", "str")
        assert (has_decoded(one), get_decoded(one)) == (False, None)
        assert get_decoded_or_raw(one).root == ["a"]
        model().decode(one)
        assert has_decoded(one)
        assert get_decoded_or_raw(one) == ["a"]
        assert one.model_dump()["parameters"] == {"content_type": "str"}

    @pytest.mark.parametrize(
        ("payload", "asked", "default", "content_type"),
        [
            (np.array([1]), None, None, "np"),
            (["a"], None, None, "str"),
            ([b"a"], None, None, "base64"),
            (["a"], "base64", None, "base64"),
            (["a"], None, NumpyCodec, "str"),
            ([b"a"], "base64", StringCodec, "base64"),
            (np.array(["a"]), None, StringCodec, "np"),
            (np.array([1]), "zzz", NumpyCodec, "np"),
        ],
    )
    def test_an_output_is_encoded_as_asked_for_else_by_what_it_is(
        self, payload, asked, default, content_type
    ):
        wanted = RequestOutput(name="o", parameters=Parameters(content_type=asked))
        output = model().encode(payload, wanted, default_codec=default)
        assert output.parameters.content_type == content_type

    @pytest.mark.parametrize("payload", [3, {"a": 1}])
    def test_a_value_without_a_codec_is_refused(self, payload):
        with pytest.raises(CodecNotFound) as caught:
            model().encode(payload, RequestOutput(name="o"))
        assert str(caught.value) == "Codec not found for output field with name 'o'"
        with pytest.raises(CodecNotFound) as caught:
            model().encode_response(payload)
        assert str(caught.value) == (
            f"Codec not found for output response with type {type(payload)}"
        )

    def test_a_response_is_encoded_with_name_and_version_of_the_model(self):
        response = model(parameters=ModelParameters(version="v1")).encode_response(np.array([1]))
        assert (response.model_name, response.model_version) == ("m", "v1")
        assert response.parameters.content_type == "np"
