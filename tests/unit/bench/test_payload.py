"""Requests and checks of answers."""

import json
import struct

import numpy as np
import pytest

from bench.errors import ServerFailed
from bench.loading.payload import (
    Encoding,
    Tensor,
    Tensors,
    check_answer,
    grpc_message,
    infer_request,
    tensor,
)
from bench.loading.v2_client import HttpAnswer

SENT = Tensor(
    model="m",
    input_name="IN",
    output_name="OUT",
    datatype="FP32",
    values=np.array([[4.1, 2.0]], np.float32),
    expected=np.array([[5.1, 3.0]], np.float32),
)


def answer(body, *, status=200, headers=None):
    return HttpAnswer(status=status, headers=headers or {}, body=body)


def test_json_carries_the_shortest_text_of_each_float():
    request = infer_request(SENT, Encoding.JSON)

    assert request.path == "/v2/models/m/infer"
    assert b'"data":[4.1,2.0]' in request.body
    assert json.loads(request.body)["inputs"][0]["shape"] == [1, 2]


def test_binary_announces_the_header_length_and_asks_for_a_binary_output():
    request = infer_request(SENT, Encoding.BINARY)
    split = int(request.headers["Inference-Header-Content-Length"])
    header = json.loads(request.body[:split])

    assert header["inputs"][0]["parameters"] == {"binary_data_size": 8}
    assert header["outputs"][0]["parameters"] == {"binary_data": True}
    assert request.body[split:] == struct.pack("<2f", 4.1, 2.0)


def test_a_grpc_frame_tells_its_length_and_ends_with_the_raw_tensor():
    frame = grpc_message(SENT)
    flag, length = struct.unpack(">BI", frame[:5])

    assert (flag, length) == (0, len(frame) - 5)
    assert (
        frame[5:]
        == (
            b"\x0a\x01m"  # model_name
            b"\x2a\x0e" + b"\x0a\x02IN\x12\x04FP32\x1a\x02\x01\x02"  # inputs
            b"\x3a\x08" + struct.pack("<2f", 4.1, 2.0)  # raw_input_contents
        )
    )


@pytest.mark.parametrize(
    "given",
    [
        answer(b'{"outputs":[{"name":"OUT","data":[5.099999904632568,3.0]}]}'),
        answer(
            b'{"outputs":[{"name":"OUT"}]}' + struct.pack("<2f", 5.1, 3.0),
            headers={"inference-header-content-length": "28"},
        ),
    ],
    ids=["json", "binary"],
)
def test_a_right_answer_passes(given):
    check_answer(SENT, given, server="s")


@pytest.mark.parametrize(
    "given",
    [
        answer(b'{"error":"no"}', status=400),
        answer(b'{"outputs":[{"name":"OUT","data":[5.1,9.0]}]}'),
        answer(b'{"outputs":[{"name":"OUT","data":[5.1]}]}'),
        answer(b'{"outputs":[{"name":"OTHER","data":[5.1,3.0]}]}'),
    ],
    ids=["status", "value", "count", "name"],
)
def test_a_wrong_answer_is_a_failure_of_the_server(given):
    with pytest.raises(ServerFailed):
        check_answer(SENT, given, server="s")


@pytest.mark.parametrize(
    ("kind", "input_bytes"),
    [(Tensors.FLOATS_16, 64), (Tensors.FLOATS_1_MIB, 1 << 20), (Tensors.DIGIT, 512)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_tensors_have_the_size_their_name_says_and_are_the_same_each_time(kind, input_bytes):
    first, second = tensor(kind), tensor(kind)

    assert first.values.nbytes == input_bytes
    assert np.array_equal(first.values, second.values)
