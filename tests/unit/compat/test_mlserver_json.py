"""`mlserver.codecs.json`."""

import json

import numpy as np
import pytest

from mpserve.compat.mlserver.codecs.json import (
    decode_from_bytelike_json_to_dict,
    decode_json_input_or_output,
    encode_to_json,
    encode_to_json_bytes,
)
from mpserve.compat.mlserver.types import RequestInput


def test_bytes_become_text():
    assert encode_to_json_bytes({"a": b"x"}) == b'{"a":"x"}'
    with pytest.raises(TypeError):
        encode_to_json_bytes({"a": object()})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1, 2]), "[1,2]"),
        (np.float32(0.5), "0.5"),
        (np.int64(3), "3"),
        ("\u00fc", '"\u00fc"'),
    ],
)
def test_arrays_become_lists(value, text):
    assert encode_to_json(value) == text.encode()
    assert encode_to_json(value, use_bytes=False) == text


def test_what_is_no_json_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        encode_to_json(float("nan"))
    with pytest.raises(json.JSONDecodeError):
        decode_from_bytelike_json_to_dict(b"{")


@pytest.mark.parametrize("data", [['{"a": 1}'], [b'{"a": 1}']])
def test_elements_are_json_texts(data):
    tensor = RequestInput(name="x", shape=[1], datatype="BYTES", data=data)
    assert decode_json_input_or_output(tensor) == [{"a": 1}]
