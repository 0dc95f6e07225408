"""Every datatype in every form that tensors are sent and fetched in: JSON, binary, raw, typed."""

import json
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.differential.cases import GrpcCase, HttpCase

PATH: Final = "/v2/models/all_types/infer"


class Row(NamedTuple):
    """A datatype, the field of its typed contents, and elements as JSON and as bytes."""

    field: str
    elements: list[Any]
    raw: bytes


def _text(*texts: str) -> bytes:
    found = [one.encode() for one in texts]
    return b"".join(struct.pack("<I", len(one)) + one for one in found)


ROWS: Final = {
    "BOOL": Row("bool_contents", [True, False], b"\1\0"),
    "UINT8": Row("uint_contents", [0, 255], b"\0\xff"),
    "UINT16": Row("uint_contents", [1, 65535], struct.pack("<2H", 1, 65535)),
    "UINT32": Row("uint_contents", [1, 2**32 - 1], struct.pack("<2I", 1, 2**32 - 1)),
    "UINT64": Row("uint64_contents", [1, 2**64 - 1], struct.pack("<2Q", 1, 2**64 - 1)),
    "INT8": Row("int_contents", [-128, 127], b"\x80\x7f"),
    "INT16": Row("int_contents", [-32768, 7], struct.pack("<2h", -32768, 7)),
    "INT32": Row("int_contents", [-(2**31), 7], struct.pack("<2i", -(2**31), 7)),
    "INT64": Row("int64_contents", [-(2**63), 7], struct.pack("<2q", -(2**63), 7)),
    "FP32": Row("fp32_contents", [0.5, -1.25], struct.pack("<2f", 0.5, -1.25)),
    "FP64": Row("fp64_contents", [0.1, -1e300], struct.pack("<2d", 0.1, -1e300)),
    "BYTES": Row("bytes_contents", ["", "äö😀"], _text("", "äö😀")),
}
_NOT_FINITE: Final = {
    "FP32": struct.pack("<3f", float("nan"), float("inf"), float("-inf")),
    "FP64": struct.pack("<3d", float("nan"), float("inf"), float("-inf")),
}


def _name(word: str) -> str:
    return "STRING" if word == "BYTES" else word


def _input(word: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": f"IN_{_name(word)}", "datatype": word, "shape": shape, **more}


def _posted(name: str, one: dict[str, Any], blob: bytes = b"", *, binary: bool = False) -> HttpCase:
    wanted = {"name": f"OUT_{one['name'].removeprefix('IN_')}"}
    if binary:
        wanted["parameters"] = {"binary_data": True}
    if blob:
        one["parameters"] = {"binary_data_size": len(blob)}
    head = json.dumps({"inputs": [one], "outputs": [wanted]}).encode()
    headers = (("Inference-Header-Content-Length", str(len(head))),) if blob else ()
    return HttpCase(f"datatypes: {name}", "POST", PATH, head + blob, headers)


def http_cases() -> Iterator[HttpCase]:
    """Return each datatype in JSON and binary, both ways; empty, scalar, not finite."""
    for word, row in ROWS.items():
        for back in (False, True):
            to = "binary" if back else "JSON"
            yield _posted(f"{word} JSON to {to}", _input(word, [2], data=row.elements), binary=back)
            yield _posted(f"{word} binary to {to}", _input(word, [2]), row.raw, binary=back)
            yield _posted(f"{word} empty to {to}", _input(word, [0], data=[]), binary=back)
        yield _posted(f"{word} scalar", _input(word, [], data=row.elements[:1]))
        yield _posted(f"{word} nested", _input(word, [2], data=[[one] for one in row.elements]))
    for word, raw in _NOT_FINITE.items():
        given = [float("nan"), float("inf"), float("-inf")]
        for back in (False, True):
            to = "binary" if back else "JSON"
            yield _posted(f"{word} not finite, JSON to {to}", _input(word, [3], data=given),
                          binary=back)  # fmt: skip
            yield _posted(f"{word} not finite, binary to {to}", _input(word, [3]), raw, binary=back)


def grpc_cases() -> Iterator[GrpcCase]:
    """Return each datatype as raw and as typed contents."""
    for word, row in ROWS.items():
        typed = [one.encode() if isinstance(one, str) else one for one in row.elements]
        ways: dict[str, dict[str, Any]] = {
            "raw": {"inputs": [_input(word, [2])], "raw_input_contents": [row.raw]},
            "typed": {"inputs": [_input(word, [2], contents={row.field: typed})]},
            "raw, empty": {"inputs": [_input(word, [0])], "raw_input_contents": [b""]},
            "typed, empty": {"inputs": [_input(word, [0], contents={})]},
            "typed, too many": {"inputs": [_input(word, [1], contents={row.field: typed})]},
            "typed in another field": {
                "inputs": [_input(word, [1], contents={_other(row.field): [1]})]
            },
            "raw, short": {"inputs": [_input(word, [3])], "raw_input_contents": [row.raw]},
        }
        for way, fields in ways.items():
            output = {"outputs": [{"name": f"OUT_{_name(word)}"}]}
            yield GrpcCase(
                f"datatypes: {word} {way}", "ModelInfer",
                {"model_name": "all_types", **fields, **output},
            )  # fmt: skip


def _other(field: str) -> str:
    return "int64_contents" if field != "int64_contents" else "fp64_contents"
