"""The protobuf codecs of both dialects: what a message means, and what an answer becomes."""

import struct

import pytest

from mpserve.codec import mlserver_proto, proto_parameters, proto_response, v2_proto
from mpserve.codec.proto_response import ProtoAnswer, in_stream, varint
from mpserve.codec.v2_response import AnswerContext
from mpserve.dialect import MLSERVER, TRITON
from mpserve.errors import InvalidRequest
from mpserve.model.proto.schema import MLSERVER_DATAPLANE, MODEL_CONFIG, TRITON_SERVICE, schema
from mpserve.model.region import RegionUse
from mpserve.model.request import InferRequest, RequestedOutput, SequenceMark
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype

MESSAGES = {
    TRITON.name: schema(MODEL_CONFIG, TRITON_SERVICE),
    MLSERVER.name: schema(MLSERVER_DATAPLANE),
}
MODEL = {"model_name": "m", "signature": Signature(open_inputs=True)}
TWO = struct.pack("<2f", 1.0, -2.0)


def message(name, dialect=TRITON, **fields):
    return MESSAGES[dialect.name].message(f"inference.{name}")(**fields)


def request(*tensors, dialect=TRITON, **fields):
    return message("ModelInferRequest", dialect, inputs=list(tensors), **fields)


def tensor(**fields):
    return {"name": "A", "datatype": "FP32", "shape": [2], **fields}


def test_a_whole_request_is_read():
    read = v2_proto.decode(
        request(
            tensor(),
            {"name": "B", "datatype": "BYTES", "shape": [1]},
            id="7",
            raw_input_contents=[TWO, b"\x01\0\0\0x"],
            parameters={
                "sequence_id": {"string_param": "s"},
                "sequence_end": {"bool_param": True},
                "priority": {"uint64_param": 2},
                "timeout": {"int64_param": 5},
                "triton_enable_empty_final_response": {"bool_param": True},
                "mine": {"double_param": 0.5},
            },
            outputs=[{"name": "X", "parameters": {"classification": {"int64_param": 3}}}],
        ),
        **MODEL,
    )
    assert read.id == "7"
    assert [(one.name, one.datatype, one.shape, one.data) for one in read.inputs] == [
        ("A", Datatype.FP32, (2,), TWO),
        ("B", Datatype.BYTES, (1,), b"\x01\0\0\0x"),
    ]
    assert read.sequence == SequenceMark(text="s", ends=True)
    assert (read.priority, read.timeout_us) == (2, 5)
    assert read.parameters_json == '{"mine":0.5}'
    assert read.outputs == (RequestedOutput(name="X", binary=True, classification=3),)


def test_small_integers_are_cut_to_their_width():
    read = v2_proto.decode(
        request(tensor(datatype="INT8", contents={"int_contents": [300, -1]})), **MODEL
    )
    assert read.inputs[0].data == b"\x2c\xff"


def test_an_input_is_given_once():
    with pytest.raises(InvalidRequest, match="input 'A' already exists in request"):
        v2_proto.decode(request(tensor(), tensor()), **MODEL)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_have_no_typed_form(datatype):
    with pytest.raises(InvalidRequest, match="unexpected explicit tensor data"):
        v2_proto.decode(
            request(tensor(datatype=datatype, contents={"fp32_contents": [1.0]})), **MODEL
        )


def test_two_fields_of_contents_are_refused():
    contents = {"fp32_contents": [1.0, 2.0], "int_contents": [1]}
    with pytest.raises(InvalidRequest, match="of type 'INT32', expected datatype 'FP32'"):
        v2_proto.decode(request(tensor(contents=contents)), **MODEL)


def in_region(**more):
    size = {"int64_param": 8}
    return {"shared_memory_region": {"string_param": "r"}, "shared_memory_byte_size": size, **more}


def test_tensors_may_lie_in_regions_of_the_clients_memory():
    place = in_region(
        shared_memory_offset={"int64_param": 8}, shared_memory_byte_size={"int64_param": 16}
    )
    output = {"name": "X", "parameters": place}
    read = v2_proto.decode(request(tensor(parameters=place), outputs=[output]), **MODEL)
    use = RegionUse(name="r", offset=8, byte_size=16)
    assert (read.inputs[0].region, read.inputs[0].data) == (use, b"")
    assert (read.outputs[0].region, read.outputs[0].binary) == (use, False)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (in_region(shared_memory_region={"int64_param": 1}), "expected string_param."),
        (in_region(shared_memory_offset={"string_param": "1"}), "expected int64_param."),
        (in_region(shared_memory_byte_size={"bool_param": True}), "expected int64_param."),
    ],
)
def test_parameters_of_regions_have_types(parameters, text):
    with pytest.raises(InvalidRequest, match=f"for tensor '.*', {text}"):
        v2_proto.decode(request(tensor(parameters=parameters)), **MODEL)


def test_a_place_in_a_region_has_a_size():
    place = {"shared_memory_region": {"string_param": "r"}}
    with pytest.raises(InvalidRequest, match="must be specified along with 'shared_memory_region'"):
        v2_proto.decode(request(tensor(parameters=place)), **MODEL)


def test_what_lies_in_a_region_has_no_contents():
    one = tensor(parameters=in_region(), contents={"fp32_contents": [1.0, 2.0]})
    with pytest.raises(InvalidRequest, match="unexpected 'content' provided"):
        v2_proto.decode(request(one), **MODEL)


def test_all_parameters_are_the_models_in_mlserver():
    read = mlserver_proto.decode(
        request(
            tensor(parameters={"content_type": {"string_param": "np"}}),
            dialect=MLSERVER,
            parameters={"sequence_id": {"int64_param": 1}},
            raw_input_contents=[TWO],
        ),
        **MODEL,
    )
    assert read.parameters_json == '{"sequence_id":1}'
    assert read.inputs[0].parameters_json == '{"content_type":"np"}'
    assert read.binary_by_default


@pytest.mark.parametrize(
    ("datatype", "contents", "data"),
    [
        ("FP32", {"fp64_contents": [1.0, -2.0]}, TWO),
        ("INT16", {"int64_contents": [1, -2]}, struct.pack("<2h", 1, -2)),
        ("BYTES", {"bytes_contents": [b"a", b""]}, b"\x01\0\0\0a\0\0\0\0"),
        ("FP16", {"fp32_contents": [1.0, -2.0]}, struct.pack("<2e", 1.0, -2.0)),
        ("FP32", {}, b""),
    ],
)
def test_mlserver_takes_the_field_that_is_set(datatype, contents, data):
    read = mlserver_proto.decode(
        request(tensor(datatype=datatype, contents=contents), dialect=MLSERVER), **MODEL
    )
    assert read.inputs[0].data == data


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"raw_input_contents": [TWO, TWO]}, "1 inputs but 2 entries"),
        ({"inputs": [tensor(datatype="X")]}, "'X' is no datatype"),
        ({"inputs": [tensor(contents={"int64_contents": [2**40]}, datatype="INT8")]}, "INT8"),
    ],
)
def test_mlserver_says_what_is_wrong(fields, reason):
    bad = message("ModelInferRequest", MLSERVER, **{"inputs": [tensor()], **fields})
    with pytest.raises(InvalidRequest, match=reason):
        mlserver_proto.decode(bad, **MODEL)


class Output:
    """An output as it came from a worker."""

    def __init__(self, datatype="FP32", shape=(2,), data=TWO, parameters_json=""):
        self.name = "X"
        self.datatype = datatype
        self.shape = shape
        self.data = memoryview(data)
        self.parameters_json = parameters_json


def answered(*outputs, dialect=TRITON, asked_raw=True, parameters_json="", is_final=None):
    empty = message("ModelInferResponse", dialect)
    encoded = proto_response.encode(
        ProtoAnswer(outputs=outputs, parameters_json=parameters_json, is_final=is_final),
        message=empty,
        request=InferRequest(inputs=(), id="7", binary_by_default=asked_raw),
        context=AnswerContext(dialect=dialect, model_name="m", model_version="1"),
    )
    return type(empty).FromString(encoded)


def test_an_answer_has_raw_outputs():
    answer = answered(Output(), Output("INT8", (0,), b""), parameters_json='{"n":1}')
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "7")
    assert list(answer.raw_output_contents) == [TWO, b""]
    assert [list(one.shape) for one in answer.outputs] == [[2], [0]]
    assert answer.parameters["n"].int64_param == 1
    assert "triton_final_response" not in answer.parameters


def test_mlserver_answers_typed_requests_with_typed_outputs():
    texts = Output("BYTES", (2,), b"\x01\0\0\0a\0\0\0\0")
    answer = answered(Output(), texts, dialect=MLSERVER, asked_raw=False)
    assert list(answer.outputs[0].contents.fp32_contents) == [1.0, -2.0]
    assert list(answer.outputs[1].contents.bytes_contents) == [b"a", b""]
    assert not answer.raw_output_contents


def test_what_has_no_typed_form_goes_raw_with_all_others():
    half = Output("FP16", (1,), b"\0\x3c")
    answer = answered(half, Output(), dialect=MLSERVER, asked_raw=False)
    assert list(answer.raw_output_contents) == [b"\0\x3c", TWO]
    assert not answer.outputs[1].HasField("contents")


def test_an_answer_in_a_stream_is_wrapped():
    wrapped = message("ModelStreamInferResponse")
    inner = answered(Output(), is_final=True)
    read = type(wrapped).FromString(in_stream(inner.SerializeToString()))
    assert read.infer_response == inner
    assert read.infer_response.parameters["triton_final_response"].bool_param


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**35, 2**63])
def test_a_varint_is_what_protobuf_writes(number):
    field = message("InferParameter", uint64_param=number).SerializeToString()
    assert field == b"\x28" + varint(number)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (True, "bool_param"),
        (-1, "int64_param"),
        (2**64 - 1, "uint64_param"),
        (0.5, "double_param"),
        ("x", "string_param"),
    ],
)
def test_a_parameter_has_the_field_of_its_type(value, field):
    answer = message("ModelInferResponse")
    proto_parameters.set_scalar(answer.parameters, "p", value)
    assert answer.parameters["p"].WhichOneof("parameter_choice") == field
    assert proto_parameters.scalars(answer.parameters) == {"p": value}


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, 2**64, -(2**64)])
def test_what_is_no_scalar_has_no_place_in_a_message(value):
    answer = message("ModelInferResponse")
    proto_parameters.set_scalar(answer.parameters, "p", value)
    assert "p" not in answer.parameters


@pytest.mark.parametrize("value", [0.5, 2**64 - 1])
def test_mlservers_messages_have_no_place_for_reals(value):
    answer = message("ModelInferResponse", MLSERVER)
    proto_parameters.set_scalar(answer.parameters, "p", value)
    assert "p" not in answer.parameters
