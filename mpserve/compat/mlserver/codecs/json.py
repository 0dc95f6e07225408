# ruff: noqa: ANN401, FBT001, FBT002  # values are the users', signatures the peer's
"""JSON as models of the peer's runtimes write and read it: the names of `mlserver.codecs.json`."""

import json
from typing import Any

import numpy as np
import orjson

from mpserve.compat.mlserver.codecs.lists import as_list
from mpserve.compat.mlserver.codecs.string import decode_str


class JSONEncoderWithArray(json.JSONEncoder):
    """Writes arrays as lists, and numpy's numbers as numbers."""

    def default(self, o: Any) -> Any:
        """Return what stands for an object that JSON does not know."""
        return (
            o.tolist()
            if isinstance(o, np.ndarray | np.floating | np.integer)
            else super().default(o)
        )


def encode_to_json_bytes(v: Any) -> bytes:
    """Return a value as JSON; `bytes` in it become text."""
    return orjson.dumps(v, default=_text_of_bytes)


def decode_from_bytelike_json_to_dict(v: bytes | str) -> Any:
    """Return the value of a JSON text."""
    return orjson.loads(v)


def encode_to_json(v: Any, use_bytes: bool = True) -> str | bytes:
    """Return a value, arrays among it, as JSON."""
    text = json.dumps(
        v, ensure_ascii=False, allow_nan=False, separators=(",", ":"), cls=JSONEncoderWithArray
    )
    return text.encode() if use_bytes else text


def decode_json_input_or_output(input_or_output: Any) -> list[Any]:
    """Return the values of a tensor whose elements are JSON texts."""
    return [json.loads(element) for element in as_list(input_or_output.data.root)]


def _text_of_bytes(value: Any) -> str:
    if isinstance(value, bytes):
        return decode_str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
