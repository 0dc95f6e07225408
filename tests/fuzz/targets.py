"""What is fuzzed: a function that takes any bytes, inputs that are right, and words to put in.

A target returns when its bytes were served or refused with a reason; anything else is a fault.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from google.protobuf.message import DecodeError

from mpserve.codec import (
    generate_json,
    management_json,
    mlserver_json,
    mlserver_proto,
    region_json,
    setting_json,
    strict_json,
    v2_json,
    v2_proto,
)
from mpserve.codec.field_fault import InvalidFields, detail_body
from mpserve.codec.v2_binary import json_part_bytes
from mpserve.codec.v2_json import RequestContext
from mpserve.dialect import MLSERVER, TRITON, DialectName
from mpserve.dispatch.validation import validate
from mpserve.errors import ErrorCode, MpserveError
from mpserve.frontend.http.routes import ROUTES
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from tests.fixtures import grpc_calls
from tests.fixtures import http2_frames as h2
from tests.fuzz.connections import INFER, STREAM, UNARY, Bench

SIGNATURES = (
    Signature(open_inputs=True, open_outputs=True),
    Signature(
        inputs=(TensorSpec(name="INPUT0", datatype=Datatype.FP32, shape=(-1, 4)),
                TensorSpec(name="T", datatype=Datatype.BYTES, shape=(-1,), optional=True)),
        outputs=(TensorSpec(name="OUTPUT0", datatype=Datatype.FP32, shape=(-1, 4)),),
        max_batch_size=8,
    ),
)  # fmt: skip


class Target(NamedTuple):
    """One thing to fuzz."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


def _refused(error: MpserveError, *, theirs: bool = False) -> None:
    """Demand that a client can be told; also that it is the client's fault, for `theirs`."""
    assert not theirs or error.code is not ErrorCode.INTERNAL
    assert error.message.encode()
    if isinstance(error, InvalidFields):
        assert detail_body(error.faults)


def json_text(data: bytes) -> None:
    """The two readers of JSON agree on what both take."""
    try:
        value = strict_json.parse(data)
    except MpserveError as error:
        _refused(error)
        return
    assert repr(strict_json.parse_slowly(data)) == repr(value)


def http_request(data: bytes) -> None:
    """A body in both dialects; the first byte says which signature, the next how much is JSON."""
    if len(data) < 2:
        return
    signature = SIGNATURES[data[0] % 2]
    body = data[2:]
    context = RequestContext(model_name="m", signature=signature, max_input_bytes=1 << 16)
    for decode in (v2_json.decode, mlserver_json.decode):
        try:
            told = json_part_bytes(str(data[1]) if data[1] else None, body_bytes=len(body))
            request = decode(body, json_bytes=told, context=context)
            validate(request, signature=signature, model_name="m")
        except MpserveError as error:
            _refused(error, theirs=True)


def generate(data: bytes) -> None:
    """A body of `generate`."""
    context = RequestContext(model_name="m", signature=SIGNATURES[1], max_input_bytes=1 << 16)
    try:
        generate_json.decode(data, context=context)
    except MpserveError as error:
        _refused(error)


def management(data: bytes) -> None:
    """Bodies of the calls that manage the server."""
    for read in (
        management_json.read_load,
        management_json.read_unload,
        lambda body: management_json.read_index(body, dialect=TRITON),
        lambda body: management_json.read_index(body, dialect=MLSERVER),
        setting_json.read_log_change,
        setting_json.read_trace_change,
        region_json.read_claim,
        region_json.check_cuda_claim,
    ):
        try:
            read(data)
        except MpserveError as error:
            _refused(error)


def protobuf(data: bytes) -> None:
    """A `ModelInferRequest` of each dialect."""
    if not data:
        return
    signature = SIGNATURES[data[0] % 2]
    for schema, decode in (
        (grpc_calls.TRITON, v2_proto.decode),
        (grpc_calls.MLSERVER, mlserver_proto.decode),
    ):
        try:
            message = schema.message("inference.ModelInferRequest").FromString(data[1:])
        except DecodeError:
            continue
        try:
            request = decode(message, model_name="m", signature=signature)
            validate(request, signature=signature, model_name="m")
        except MpserveError as error:
            _refused(error, theirs=True)


def paths(data: bytes) -> None:
    """A path of a request."""
    for dialect in DialectName:
        ROUTES[dialect].match(data)


def codec_targets() -> dict[str, Target]:
    """Return what is Python's, by name."""
    return {
        "json": Target(json_text, _JSON, _JSON_WORDS),
        "request": Target(http_request, _BODIES, _JSON_WORDS),
        "generate": Target(generate, _JSON, _JSON_WORDS),
        "management": Target(management, _JSON, _JSON_WORDS),
        "protobuf": Target(protobuf, _messages(), _PROTO_WORDS),
        "paths": Target(paths, _PATHS, (b"/", b"..", b"%2e", b"%", b"versions", b"\xff", b"?")),
    }


def connection_targets(bench: Bench) -> dict[str, Target]:
    """Return what is the core's, by name."""
    return {
        "http": Target(bench.http, _HTTP + _HTTP_INFERENCES, _HTTP_WORDS),
        "grpc": Target(bench.grpc, _frames(), _frame_words()),
    }


_GOOD = (
    b'{"id":"x","parameters":{"priority":1,"sequence_id":3,"k":"v"},"inputs":[{"name":"INPUT0",'
    b'"datatype":"FP32","shape":[1,4],"data":[1.5,-2e3,0,NaN]},{"name":"T","datatype":"BYTES",'
    b'"shape":[1],"data":["\\u00e4\\ud83d\\ude00"]}],"outputs":[{"name":"OUTPUT0","parameters":'
    b'{"binary_data":true,"classification":2}}]}'
)
_BINARY = (
    b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,4],"parameters":'
    b'{"binary_data_size":16}}]}'
)
_JSON = (
    _GOOD,
    _BINARY,
    b'{"parameters":{"config":"{}","file:1/model.py":"YQ==","unload_dependents":true}}',
    b'{"log_info":true,"log_verbose_level":1,"log_format":"default"}',
    b'{"trace_level":["OFF"],"trace_rate":"10","trace_count":null}',
    b'{"key":"/x","offset":0,"byte_size":64}',
    b'{"INPUT0":[1,2,3,4],"T":"text","parameters":{"a":1}}',
    b'[[1,2.5,-3e-7],"a\\n",null,true,{"ready":false},Infinity]',
)
_BODIES = (
    b"\0\0" + _GOOD,
    b"\1\0" + _GOOD,
    b"\0" + bytes([len(_BINARY)]) + _BINARY + bytes(16),
    b"\1" + bytes([len(_BINARY)]) + _BINARY + bytes(16),
)
_JSON_WORDS = (
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u12", b"\\ud800", b"\xff", b"null",
    b"true",
    b"1e999", b"-0", b"0.", b"NaN", b"18446744073709551616", b'"data":[1]', b'"shape":[1]',
    b'"shape":[9223372036854775807,2]', b'"datatype":"BYTES"', b'"datatype":"BF16"',
    b'"parameters":{"binary_data_size":3}', b'"shared_memory_region":"r"', b'"content_type":1',
    b'"name":"T"', b'"id":"x",', b'"priority":-1', b'"timeout":"1"', b'"sequence_id":"s"',
)  # fmt: skip
_PROTO_WORDS = (
    b"\x0a\x01m", b"\x2a\x00", b"\x3a\x04\0\0\x80\x3f", b"\xff\xff\xff\xff\x0f",
    b"\x1a\x02\x01\x04",
    b"\x12\x04FP32", b"\x12\x05BYTES", b"\x80", b"\x0a\x06INPUT0", b"\x22\x05\x0a\x01k\x12\x00",
)  # fmt: skip
_PATHS = (
    b"/v2/models/m/versions/1/infer",
    b"/v2/repository/models/m/load",
    b"/v2/systemsharedmemory/region/r/register",
    b"/v2/models/a%20b/ready",
    b"/v2/health/live",
)
_HTTP = (
    b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\nGET /v2 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nInference-Header-Content-Length: 2\r\n"
    b"Content-Length: 99999999\r\n\r\n{}",
    b"GET / HTTP/1.0\r\n\r\n",
)
_IN_REGIONS = (
    b'{"id":"a","inputs":[{"name":"A","datatype":"FP32","shape":[1,2],"parameters":'
    b'{"shared_memory_region":"r","shared_memory_offset":8,"shared_memory_byte_size":8}},'
    b'{"name":"B","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}}],"outputs":'
    b'[{"name":"X","parameters":{"shared_memory_region":"s","shared_memory_byte_size":99}}]}'
)
_SMALL = b'{"inputs":[{"name":"A","datatype":"INT32","shape":[2],"data":[1,-2]}]}'
_HTTP_INFERENCES = (
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nInference-Header-Content-Length: %d\r\n"
    b"Content-Length: %d\r\n\r\n%sabc" % (len(_IN_REGIONS), len(_IN_REGIONS) + 3, _IN_REGIONS),
    b"POST /v2/models/m/versions/1/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_SMALL), _SMALL),
)
_HTTP_WORDS = (
    b'"shared_memory_region":"r"', b'"shared_memory_byte_size":8', b'"shared_memory_offset":40',
    b'"parameters":{"sequence_id":1}', b'"parameters":{"timeout":1}',
    b"\r\n", b"\n", b"\r\n\r\n", b":", b" ", b"\0", b"HTTP/1.1", b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Content-Encoding: gzip\r\n",
    b"0\r\n\r\n", b"ffffffffffffffff", b"18446744073709551616", b"Upgrade: h2c\r\n",
)  # fmt: skip


def _messages() -> tuple[bytes, ...]:
    message = grpc_calls.TRITON.message("inference.ModelInferRequest")
    place = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4]}
    raw = struct.pack("<4f", 1, 2, 3, 4)
    made = (
        message(model_name="m", inputs=[place], raw_input_contents=[raw]),
        message(model_name="m", inputs=[{**place, "contents": {"fp32_contents": [1, 2, 3, 4]}}]),
        message(
            model_name="m",
            id="x",
            parameters={"sequence_id": {"int64_param": 1}, "k": {"double_param": 1.5}},
            inputs=[{"name": "T", "datatype": "BYTES", "shape": [1],
                     "contents": {"bytes_contents": [b"a"]},
                     "parameters": {"shared_memory_region": {"string_param": "r"}}}],
            outputs=[{"name": "OUTPUT0", "parameters": {"classification": {"int64_param": 2}}}],
        ),
    )  # fmt: skip
    return tuple(bytes([first]) + one.SerializeToString() for one in made for first in range(2))


def _frames() -> tuple[bytes, ...]:
    start = h2.PREFACE + h2.frame(h2.SETTINGS)

    def call(path: str, *bodies: bytes, stream: int = 1) -> bytes:
        head = h2.frame(h2.HEADERS, h2.call_head(path), flags=h2.END_HEADERS, stream=stream)
        sent = b"".join(h2.frame(h2.DATA, one, stream=stream) for one in bodies)
        return head + sent + h2.frame(h2.DATA, flags=h2.END_STREAM, stream=stream)

    hello = h2.message(b"hello")
    return (
        start + call(UNARY, hello),
        start + call(STREAM, hello, hello[:3], hello[3:]) + call(UNARY, hello, stream=3),
        start + call("/nobody", hello) + h2.frame(h2.PING, bytes(8)),
        start + call(UNARY, h2.message(b"x" * 3000)) + h2.frame(h2.GOAWAY, bytes(8)),
        start + call(STREAM, hello)[:-9] + h2.frame(h2.RST_STREAM, bytes(4), stream=1),
        start + h2.frame(h2.WINDOW, b"\0\1\0\0") + call(UNARY, h2.message(b"", flag=1)),
        *(start + call(INFER, h2.message(one)) for one in _inferences()),
    )


def _inferences() -> tuple[bytes, ...]:
    """Return requests for the model `m`: with its data, and in regions."""
    message = grpc_calls.TRITON.message("inference.ModelInferRequest")
    place = {
        "shared_memory_region": {"string_param": "r"},
        "shared_memory_byte_size": {"int64_param": 8},
        "shared_memory_offset": {"int64_param": 8},
    }
    one = {"name": "A", "datatype": "FP32", "shape": [1, 2]}
    given = {**one, "name": "B"}
    outputs = [{"name": "X", "parameters": place}, {"name": "Y"}]
    made = (
        message(model_name="m", id="x", inputs=[one], raw_input_contents=[bytes(8)]),
        message(
            model_name="m",
            inputs=[{**one, "parameters": place}, given],
            outputs=outputs,
            raw_input_contents=[bytes(8)],
        ),
    )
    return tuple(each.SerializeToString() for each in made)


_ABUSE = (
    h2.frame(h2.SETTINGS, b"\0\4\xff\xff\xff\xff"),  # a window past 2^31
    h2.frame(h2.SETTINGS, b"\0\5\0\0\0\0"),  # frames of no bytes
    h2.frame(h2.SETTINGS, b"\0\1\0\0\0\0" * 20),
    h2.frame(h2.SETTINGS, b"\0\3\0\0\0\0"),
    h2.frame(h2.WINDOW, b"\x7f\xff\xff\xff"),
    h2.frame(h2.WINDOW, b"\x7f\xff\xff\xff", stream=1) * 2,
    h2.frame(h2.WINDOW, bytes(4)),
    h2.frame(h2.RST_STREAM, b"\0\0\0\x08", stream=1) * 3,
    h2.frame(h2.PING, bytes(8)) * 40,
    h2.frame(h2.DATA, b"", stream=1) * 40,
    h2.frame(h2.DATA, b"\xff" + bytes(8), flags=8, stream=1),  # more padding than frame
    h2.frame(h2.HEADERS, h2.call_head(UNARY), stream=5),  # whose end never comes
    h2.frame(h2.CONTINUATION, h2.call_head(UNARY), stream=5),
    h2.frame(h2.CONTINUATION, b"", flags=h2.END_HEADERS, stream=5),
    h2.frame(h2.HEADERS, h2.call_head(UNARY), flags=h2.END_HEADERS | h2.END_STREAM, stream=2),
    h2.frame(h2.PRIORITY, b"\0\0\0\1\xff", stream=1),  # depends on itself
    h2.frame(h2.PUSH, b"\0\0\0\2" + h2.call_head(UNARY), flags=h2.END_HEADERS, stream=1),
    h2.frame(99, bytes(64), stream=7),
    h2.field(":path", "/late") + h2.field("te", "none") + h2.field("connection", "close"),
    h2.field("x" * 300, "y" * 300),
)


def _frame_words() -> tuple[bytes, ...]:
    kinds = tuple(
        h2.frame(kind, payload, flags=flags, stream=stream)
        for kind in range(11)
        for payload, flags, stream in ((b"", 0, 0), (bytes(4), 5, 1), (bytes(8), 1, 3))
    )
    return (
        *kinds,
        h2.message(b"hello"),
        h2.message(b"", bytes_told=1 << 31),
        h2.field("grpc-timeout", "1n"),
        h2.field("grpc-encoding", "gzip"),
        h2.field("grpc-timeout", "1S"),
        *_ABUSE,
        b"\xff\xff\xff\xff",
        b"\x3f\xe1\x1f",  # a table that grows
    )
