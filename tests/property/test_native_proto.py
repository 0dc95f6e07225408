"""The core's protobuf codec against Python's: what it accepts, Python accepts and reads alike."""

import json
import math

from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpserve import _native
from mpserve.codec import proto_response, v2_proto
from mpserve.codec.proto_response import ProtoAnswer
from mpserve.codec.v2_response import AnswerContext
from mpserve.dialect import TRITON
from mpserve.dispatch.validation import validate
from mpserve.errors import MpserveError
from mpserve.model.request import InferRequest
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from tests.property.proto_requests import REQUEST, RESPONSE, damaged, fitting, in_regions
from tests.property.readings import sequence_of
from tests.property.v2_requests import REGISTERED, place_of

OPEN = Signature(open_inputs=True, open_outputs=True)
CLOSED = Signature(
    max_batch_size=2,
    inputs=(
        TensorSpec(name="T0", datatype=Datatype.FP32, shape=(-1, 2)),
        TensorSpec(name="T1", datatype=Datatype.INT8, shape=(-1, -1), optional=True),
    ),
    outputs=(TensorSpec(name="X", datatype=Datatype.FP32, shape=(-1, 2)),),
)


TABLE = _native.RegionTable(on_free=lambda: None)
TABLE.publish(REGISTERED)


def rows(specs):
    return [
        (spec.name, int(spec.datatype or 0), list(spec.shape or ()), spec.optional)
        for spec in specs
    ]


def decode_natively(body, signature):
    return _native.decode_infer_proto(
        body,
        inputs=rows(signature.inputs),
        outputs=rows(signature.outputs),
        max_batch_size=signature.max_batch_size,
        open_inputs=signature.open_inputs,
        open_outputs=signature.open_outputs,
        regions=TABLE,
    )


def decode_slowly(body, signature):
    request = v2_proto.decode(REQUEST.FromString(body), model_name="m", signature=signature)
    validate(request, signature=signature, model_name="m")
    return request


def check_alike(native, request: InferRequest):
    assert native.id == request.id
    assert native.parameters_json == request.parameters_json == ""
    assert native.binary_by_default is request.binary_by_default is True
    assert sequence_of(native) == request.sequence
    assert [tuple(row) for row in native.inputs] == [
        (one.name, one.datatype.name, list(one.shape), bytes(one.data), one.parameters_json)
        for one in request.inputs
    ]
    assert [tuple(row) for row in native.outputs] == [
        (one.name, one.binary) for one in request.outputs
    ]
    named = [one.region for one in (*request.inputs, *request.outputs)]
    assert native.regions == [place_of(use) for use in named]


@settings(max_examples=2000)
@given(body=damaged(), signature=st.sampled_from([OPEN, CLOSED]))
@example(body=b"", signature=OPEN)
@example(body=b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", signature=OPEN)
def test_what_the_core_accepts_python_reads_alike(body, signature):
    native = decode_natively(body, signature)
    if native.outcome != "accepted":
        return
    try:
        check_alike(native, decode_slowly(body, signature))
    except (MpserveError, DecodeError) as error:
        raise AssertionError(f"accepted by the core alone: {error}") from error


@settings(max_examples=500)
@given(body=in_regions())
def test_requests_that_name_regions_are_accepted_where_there_is_a_place(body):
    native = decode_natively(body, OPEN)
    request = decode_slowly(body, OPEN)
    assert (native.outcome == "accepted") is all(place_of(use) for use in request.regions)
    if native.outcome == "accepted":
        check_alike(native, request)


@settings(max_examples=500)
@given(body=fitting())
def test_the_core_accepts_what_is_common(body):
    native = decode_natively(body, OPEN)
    assert native.outcome == "accepted"
    check_alike(native, decode_slowly(body, OPEN))


@settings(max_examples=500)
@given(
    size=st.integers(0, 3),
    batch=st.integers(0, 4),
    name=st.sampled_from(["T0", "T1", "T2"]),
    word=st.sampled_from(["FP32", "INT8"]),
)
def test_a_signature_is_kept_as_python_keeps_it(size, batch, name, word):
    item = Datatype[word].item_bytes
    body = REQUEST(
        model_name="m",
        inputs=[{"name": name, "datatype": word, "shape": [batch, size]}],
        raw_input_contents=[b"\0" * (item * batch * size)],
    ).SerializeToString()
    native = decode_natively(body, CLOSED)
    try:
        request = decode_slowly(body, CLOSED)
    except MpserveError:
        assert native.outcome != "accepted"
        return
    if batch:  # an empty batch is left to Python
        assert native.outcome == "accepted"
        check_alike(native, request)


class Answered:
    """An output as it came from a worker."""

    def __init__(self, name, datatype, shape, data, parameters_json):
        self.name = name
        self.datatype = datatype.name
        self.shape = shape
        self.data = memoryview(data)
        self.parameters_json = parameters_json


@st.composite
def outputs(draw):
    datatype = draw(st.sampled_from([one for one in Datatype if one is not Datatype.BYTES]))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    size = math.prod(shape) * datatype.item_bytes
    data = draw(st.binary(min_size=size, max_size=size))
    return Answered(draw(st.text(max_size=4)), datatype, shape, data, draw(PARAMETERS_JSON))


PARAMETERS_JSON = st.just("") | st.dictionaries(
    st.text(max_size=4),
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=4)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.none(),
    max_size=3,
).map(json.dumps)


@settings(max_examples=1500)
@given(
    tensors=st.lists(outputs(), max_size=3),
    request_id=st.text(max_size=4),
    parameters=PARAMETERS_JSON,
)
def test_answers_mean_what_pythons_mean(tensors, request_id, parameters):
    written = _native.encode_infer_proto(
        [
            (one.name, one.datatype, list(one.shape), bytes(one.data), one.parameters_json, True)
            for one in tensors
        ],
        model_name="m",
        model_version="1",
        request_id=request_id,
        parameters_json=parameters,
    )
    expected = proto_response.encode(
        ProtoAnswer(outputs=tensors, parameters_json=parameters),
        message=RESPONSE(),
        request=InferRequest(inputs=(), id=request_id, binary_by_default=True),
        context=AnswerContext(dialect=TRITON, model_name="m", model_version="1"),
    )
    if written is None:  # an escaped text, a real number or no scalar among the parameters
        texts = [parameters, *(one.parameters_json for one in tensors)]
        assert any("\\" in text or "null" in text or "." in text or "e" in text for text in texts)
        return
    assert RESPONSE.FromString(written) == RESPONSE.FromString(expected)
