"""Where the JSON part ends, and raw requests."""

import pytest

from mpserve.codec.v2_binary import BinaryPart, decode_raw, json_part_bytes
from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype


@pytest.mark.parametrize(
    ("header", "expected"), [(None, 10), ("0", 0), ("4", 4), ("10", 10), (" 4 ", 4), ("004", 4)]
)
def test_the_header_says_where_the_json_ends(header, expected):
    assert json_part_bytes(header, body_bytes=10) == expected


@pytest.mark.parametrize("header", ["", "x", "1x", "1.5", "0x4", "\u0664", "--1", "1 2"])
def test_a_header_that_is_no_number_is_refused(header):
    with pytest.raises(InvalidRequest, match="Unable to parse Inference-Header-Content-Length"):
        json_part_bytes(header, body_bytes=10)


@pytest.mark.parametrize(
    ("header", "text"),
    [("11", r"range \(0, 10\), got: 11"), ("-1", r"range \(0, 10\), got: -1"),
     ("2147483648", "out of range"), ("-2147483649", "out of range"), ("9" * 9000, "out of range")],
)  # fmt: skip
def test_a_length_outside_the_body_is_refused(header, text):
    with pytest.raises(InvalidRequest, match=text):
        json_part_bytes(header, body_bytes=10)


def test_binary_tensors_are_views_in_order():
    body = bytearray(b"abcdef")
    part = BinaryPart(memoryview(body), model_name="m")
    assert bytes(part.take(2, input_name="a")) == b"ab"
    rest = part.take(4, input_name="b")
    part.finish()
    body[2] = ord("X")
    assert bytes(rest) == b"Xdef"


def raw(data: bytes, *specs: TensorSpec, batch: int = 0, limit: int = 100):
    signature = Signature(inputs=specs, max_batch_size=batch)
    return decode_raw(data, model_name="m", signature=signature, max_input_bytes=limit).inputs[0]


def spec(datatype: Datatype, *shape: int) -> TensorSpec:
    return TensorSpec(name="x", datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("data", "declared", "batch", "shape"),
    [
        (b"\0" * 16, spec(Datatype.FP32, 4), 0, (4,)),
        (b"\0" * 16, spec(Datatype.FP32, -1, 4), 8, (1, 4)),
        (b"\0" * 24, spec(Datatype.FP32, 2, -1), 0, (2, 3)),
        (b"", spec(Datatype.FP32, -1), 0, (0,)),
    ],
)
def test_the_shape_of_a_raw_request_is_deduced(data, declared, batch, shape):
    assert raw(data, declared, batch=batch).shape == shape


@pytest.mark.parametrize(
    ("data", "specs", "text"),
    [
        (b"", (), "got 0 inputs"),
        (b"", (spec(Datatype.FP32, 1), spec(Datatype.FP32, 1)), "got 2 inputs"),
        (b"", (spec(Datatype.FP32, -1, -1),), "more than one variable-sized dimension"),
        (b"\0" * 7, (spec(Datatype.FP32, -1),), "Expected 4, got 7"),
        (b"\0" * 8, (spec(Datatype.FP32, 0, -1),), "Expected 0, got 8"),
        (b"a", (spec(Datatype.BYTES, 2),), r"must have input shape \[1\]"),
        (b"\0" * 101, (spec(Datatype.INT8, -1),), r"101 bytes\) that exceeds"),
    ],
)
def test_a_raw_request_that_means_nothing_is_refused(data, specs, text):
    with pytest.raises(InvalidRequest, match=text):
        raw(data, *specs)


def test_a_raw_text_gets_its_length():
    tensor = raw(b"abc", spec(Datatype.BYTES, -1, 1), batch=4)
    assert (tensor.shape, tensor.data) == ((1, 1), b"\x03\0\0\0abc")


def test_an_undeclared_input_can_not_be_raw():
    with pytest.raises(Unsupported):
        raw(b"abc", TensorSpec(name="x", datatype=None, shape=None))
