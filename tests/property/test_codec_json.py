"""The slow JSON reader agrees with orjson; what is written reads back as the same."""

import json
import math

import numpy as np
import orjson
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mpserve.codec import bytes_tensor
from mpserve.codec.content_encoding import ContentEncoding, deflate, inflate
from mpserve.codec.datatype import DTYPES, encode_elements, flatten
from mpserve.codec.number_text import array_text
from mpserve.codec.strict_json import parse, parse_slowly
from mpserve.dialect import TRITON
from mpserve.errors import MpserveError
from mpserve.model.tensor import Datatype
from tests.property.v2_requests import damaged

WORDS = ("NaN", "Inf")
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=1000)
@given(value=JSON_VALUES, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_the_slow_reader_reads_what_orjson_reads(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert parse_slowly(text) == orjson.loads(text)
    assert parse(text) == value


@settings(max_examples=2000)
@given(text=damaged())
@example(text=b"[1,2,]")
@example(text=b"[-]")
@example(text=b'{"a":01}')
def test_the_slow_reader_refuses_what_orjson_refuses(text):
    assume(not any(word.encode() in text for word in WORDS))
    try:
        expected = orjson.loads(text)
    except orjson.JSONDecodeError:
        expected = None
    try:
        found = parse_slowly(text)
    except MpserveError as error:
        found = None if expected is None or "given twice" in error.message else error
        expected = None
    assert found == expected


@settings(max_examples=500)
@given(values=st.lists(st.floats(), max_size=6))
@example(values=[1e-6, 9.999999e-6, 1e-5, 1e16, 123456789012345678.0, 1e21, 5e-324, -0.0])
def test_printed_doubles_read_back_and_have_the_peers_form(values):
    text = array_text(np.array(values, dtype=np.float64), words=TRITON.non_finite).decode()
    read = json.loads(text)
    assert len(read) == len(values)
    for printed, got, value in zip(text[1:-1].split(","), read, values, strict=False):
        assert got == value or (math.isnan(got) and math.isnan(value))
        if math.isfinite(value) and value:
            assert ("e" in printed) == (not 1e-6 <= abs(value) < 1e21)
            assert "." in printed or "e" in printed
            assert "+" not in printed


@settings(max_examples=300)
@given(
    datatype=st.sampled_from([one for one in DTYPES if one is not Datatype.FP16]),
    data=st.data(),
)
def test_numbers_become_what_numpy_makes_of_them(datatype, data):
    kind = np.dtype(DTYPES[datatype]).kind
    elements = {
        "b": st.booleans(),
        "u": st.integers(0, 2**64 - 1),
        "i": st.integers(-(2**63), 2**63 - 1),
        "f": st.floats() | st.integers(-(2**63), 2**64 - 1),
    }[kind]
    values = data.draw(st.lists(elements, max_size=5))
    encoded = np.frombuffer(encode_elements(values, datatype), dtype=DTYPES[datatype])
    bits = 8 * datatype.item_bytes
    for value, got in zip(values, encoded.tolist(), strict=True):
        if kind in "iu":
            assert (got - value) % (1 << bits) == 0
        elif kind == "b":
            assert got is value
        elif bits == 64:
            assert got == float(value) or math.isnan(got)


@given(elements=st.lists(st.binary(max_size=6), max_size=6))
def test_texts_survive_their_binary_form(elements):
    assert bytes_tensor.unpack(bytes_tensor.pack(elements)) == elements


@given(nested=st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=4), max_leaves=20))
def test_flattening_keeps_the_order(nested):
    def slowly(value):
        return (
            [one for part in value for one in slowly(part)] if isinstance(value, list) else [value]
        )

    assume(isinstance(nested, list))
    assert flatten(nested) == slowly(nested)


@given(
    pieces=st.lists(st.binary(max_size=200), max_size=4), coding=st.sampled_from(ContentEncoding)
)
def test_compressed_bodies_come_back(pieces, coding):
    packed = b"".join(bytes(piece) for piece in deflate(list(pieces), coding))
    whole = b"".join(pieces)
    assert bytes(inflate(packed, coding, max_bytes=len(whole))) == whole
