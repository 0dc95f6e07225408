"""The core's codec against Python's: what the core accepts, Python accepts and reads alike."""

import json

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpserve import _native
from mpserve.codec import mlserver_json, v2_json, v2_response
from mpserve.codec.datatype import DTYPES
from mpserve.codec.v2_json import RequestContext
from mpserve.dialect import MLSERVER, TRITON, Dialect
from mpserve.model.request import InferRequest, RequestedOutput
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype
from tests.property.readings import sequence_of
from tests.property.v2_requests import BODIES, REGISTERED, damaged, in_regions, place_of

CONTEXT = RequestContext(
    model_name="m",
    signature=Signature(open_inputs=True, open_outputs=True),
    max_input_bytes=1 << 20,
)
TABLE = _native.RegionTable(on_free=lambda: None)
TABLE.publish(REGISTERED)
DECODERS = {TRITON.name: v2_json.decode, MLSERVER.name: mlserver_json.decode}
DIALECTS = (TRITON, MLSERVER)

_INTEGERS = {
    Datatype[f"{sign}INT{bits}"]: (
        st.integers(0, 2**bits - 1)
        if sign == "U"
        else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
ELEMENTS = {
    **_INTEGERS,
    Datatype.BOOL: st.booleans(),
    Datatype.FP32: st.floats(-1e38, 1e38) | st.integers(-(2**24), 2**24),
    Datatype.FP64: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64),
    Datatype.BYTES: st.text(max_size=9),
}
NUMBERS = [datatype for datatype in DTYPES if datatype is not Datatype.FP16]


def decode_natively(body: bytes, json_bytes: int, dialect: Dialect) -> _native.DecodedRequest:
    return _native.decode_infer(
        body[:json_bytes],
        body[json_bytes:],
        open_inputs=True,
        open_outputs=True,
        keep_tensor_parameters=dialect is MLSERVER,
        reads_sequences=dialect.reads_sequences,
        max_json_bytes=CONTEXT.max_input_bytes,
        regions=TABLE if dialect is TRITON else None,
    )


def check_accepted(
    native: _native.DecodedRequest, body: bytes, json_bytes: int, dialect: Dialect
) -> None:
    """Let Python read the body too, and compare."""
    decode = DECODERS[dialect.name]
    check_alike(native, decode(body, json_bytes=json_bytes, context=CONTEXT))


def check_alike(native: _native.DecodedRequest, request: InferRequest) -> None:
    """Compare two readings of one body."""
    assert native.id == request.id
    assert native.binary_by_default == request.binary_by_default
    assert json.loads(native.parameters_json or "{}") == json.loads(request.parameters_json or "{}")
    assert len(native.inputs) == len(request.inputs)
    for found, wanted in zip(native.inputs, request.inputs, strict=True):
        name, datatype, shape, data, parameters = found
        assert (name, datatype, tuple(shape)) == (wanted.name, wanted.datatype.name, wanted.shape)
        assert data == bytes(wanted.data)
        assert json.loads(parameters or "{}") == json.loads(wanted.parameters_json or "{}")
    assert native.outputs == [(output.name, output.binary) for output in request.outputs]
    named = [one.region for one in (*request.inputs, *request.outputs)]
    assert native.regions == [place_of(use) for use in named]
    assert sequence_of(native) == request.sequence


SEQUENCES = st.fixed_dictionaries(
    {"sequence_id": st.integers(0, 2**63 - 1) | st.text("abc-7", max_size=9)},
    optional={"sequence_start": st.booleans(), "sequence_end": st.booleans()},
)


@st.composite
def usual_bodies(draw: st.DrawFn, *, in_sequences: bool = False) -> tuple[bytes, int]:
    """Return a body of the kind that clients send, and the length of its JSON part."""
    inputs = []
    blobs = b""
    for index in range(draw(st.integers(1, 3))):
        datatype = draw(st.sampled_from(sorted(ELEMENTS)))
        count = draw(st.integers(0, 6))
        elements = draw(st.lists(ELEMENTS[datatype], min_size=count, max_size=count))
        item = {"name": f"INPUT{index}", "shape": [count], "datatype": datatype.name}
        if datatype in DTYPES and draw(st.booleans()):
            data = np.array(elements, dtype=DTYPES[datatype]).tobytes()
            item["parameters"] = {"binary_data_size": len(data)}
            blobs += data
        else:
            item["data"] = [[element] for element in elements] if draw(st.booleans()) else elements
        inputs.append({key: item[key] for key in draw(st.permutations(sorted(item)))})
    document = {"inputs": inputs}
    if draw(st.booleans()):
        document["id"] = draw(st.text(max_size=9))
    if draw(st.booleans()):
        document["parameters"] = {"binary_data_output": draw(st.booleans()), "custom": 1.5}
    if in_sequences:
        document["parameters"] = document.get("parameters", {}) | draw(SEQUENCES)
    if draw(st.booleans()):
        document["outputs"] = [{"name": "A", "parameters": {"binary_data": True}}, {"name": "B"}]
    indent, ascii_only = draw(st.sampled_from([None, 2])), draw(st.booleans())
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    return text + blobs, len(text)


@settings(max_examples=1000)
@given(body=usual_bodies())
def test_usual_requests_are_accepted_and_read_as_python_reads_them(body):
    data, json_bytes = body
    for dialect in DIALECTS:
        native = decode_natively(data, json_bytes, dialect)
        assert native.outcome == "accepted", dialect.name
        check_accepted(native, data, json_bytes, dialect)


@settings(max_examples=1000)
@given(body=usual_bodies(in_sequences=True))
def test_requests_of_sequences_are_accepted_and_read_as_python_reads_them(body):
    data, json_bytes = body
    native = decode_natively(data, json_bytes, TRITON)
    assert native.outcome == "accepted"
    check_alike(native, v2_json.decode(data, json_bytes=json_bytes, context=CONTEXT))


@settings(max_examples=500)
@given(body=in_regions())
def test_requests_that_name_regions_are_accepted_where_there_is_a_place(body):
    native = decode_natively(body, len(body), TRITON)
    request = v2_json.decode(body, json_bytes=len(body), context=CONTEXT)
    assert (native.outcome == "accepted") is all(place_of(use) for use in request.regions)
    if native.outcome == "accepted":
        check_alike(native, request)


@settings(max_examples=1500)
@given(data=st.data(), body=BODIES)
def test_whatever_the_core_accepts_python_accepts_alike(data, body):
    json_bytes = data.draw(st.just(len(body)) | st.integers(1, max(len(body), 1)))
    for dialect in DIALECTS:
        native = decode_natively(body, json_bytes, dialect)
        if native.outcome == "accepted":
            check_accepted(native, body, json_bytes, dialect)


@settings(max_examples=1500)
@given(data=st.data(), usual=usual_bodies() | usual_bodies(in_sequences=True))
def test_damaged_requests_are_left_or_read_alike(data, usual):
    text = data.draw(damaged(usual[0][: usual[1]]))
    body = text + usual[0][usual[1] :]
    for dialect in DIALECTS:
        native = decode_natively(body, len(text), dialect)
        if native.outcome == "accepted":
            check_accepted(native, body, len(text), dialect)


class Answered:
    """An output as it comes from a worker."""

    def __init__(self, datatype: Datatype, data: bytes, count: int) -> None:
        self.name = "OUT"
        self.datatype = datatype.name
        self.shape = (count,)
        self.parameters_json = '{"content_type":"np"}'
        self.data = memoryview(data)


@settings(max_examples=500)
@given(data=st.data(), datatype=st.sampled_from(NUMBERS), count=st.integers(0, 5))
@example(data=None, datatype=Datatype.FP32, count=4)
def test_answers_are_written_as_python_writes_them(data, datatype, count):
    size = count * datatype.item_bytes
    raw = (
        np.array([0.1, np.nan, -np.inf, 1e-7], dtype="<f4").tobytes()
        if data is None
        else data.draw(st.binary(min_size=size, max_size=size))
    )
    if datatype is Datatype.BOOL:
        raw = bytes(byte & 1 for byte in raw)
    tensor = Answered(datatype, raw, count)
    for dialect in DIALECTS:
        check_answer(tensor, raw, dialect)


def check_answer(tensor: Answered, raw: bytes, dialect: Dialect) -> None:
    request = InferRequest(inputs=(), outputs=(RequestedOutput(name="OUT"),), id="r")
    wanted = v2_response.encode(
        [tensor],
        request=request,
        parameters_json="",
        context=v2_response.AnswerContext(dialect=dialect, model_name="m", model_version="1"),
    )
    row = (tensor.name, tensor.datatype, tensor.shape, raw, tensor.parameters_json, False)
    outcome, answer = _native.encode_infer(
        [row],
        mlserver=dialect is MLSERVER,
        model_name="m",
        model_version="1",
        request_id="r",
    )
    assert outcome == "encoded"
    head, body = answer.split(b"\r\n\r\n", 1)
    assert body == wanted.json_text
    assert f"Content-Length: {len(body)}".encode() in head


@settings(max_examples=1500)
@given(
    data=st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [b"GET ", b"/a", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"Host: a", b"A:", b" ",
             b"Content-Length: 5", b"Transfer-Encoding: chunked", b"\x00", b"\xff", b"x"]
        ),
        max_size=12,
    ).map(b"".join)
)  # fmt: skip
def test_any_bytes_are_a_head_a_start_of_one_or_a_fault(data):
    parsed = _native.parse_head(data)
    assert parsed.status in {"incomplete", "complete", "bad"}
    if parsed.status == "bad":
        assert 400 <= parsed.http_status < 600
        assert parsed.reason
    if parsed.status == "complete":
        assert data[: parsed.head_bytes].endswith(b"\r\n\r\n")
        assert parsed.minor_version == 0 or any(
            name.lower() == b"host" for name, _ in parsed.fields
        )


@settings(max_examples=500)
@given(chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6), rest=st.binary(max_size=9))
def test_chunked_bodies_come_out_whole(chunks, rest):
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    assert _native.dechunk(wire + rest) == ("complete", b"".join(chunks), len(wire))
    assert _native.dechunk(wire[:-1])[0] == "incomplete"
