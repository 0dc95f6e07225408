"""Requests to the custom runtimes of `tests/repositories/mlserver_runtimes`, over both wires."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

from tests.differential.cases import GrpcCase, HttpCase, StreamCase

PICTURE = base64.b64encode(struct.pack("<HH", 3, 2) + bytes([0, 1, 2, 253, 254, 255])).decode()
FRAME: list[dict[str, Any]] = [
    {"name": "name", "datatype": "BYTES", "shape": [3], "data": ["ann", "bob", "eve"]},
    {"name": "currency", "datatype": "BYTES", "shape": [3], "data": ["EUR", "USD", "EUR"]},
    {"name": "amount", "datatype": "FP64", "shape": [3], "data": [10, 20, 30.5]},
]


def http_cases() -> list[HttpCase]:
    """Return all requests, each with a name of its own."""
    cases = []
    for number, (name, path, body) in enumerate(_all()):
        method = "GET" if body is None else "POST"
        encoded = None if body is None else json.dumps(body).encode()
        kind = () if body is None else (("Content-Type", "application/json"),)
        cases.append(HttpCase(f"{path}: {name or number}", method, path, encoded, kind))
    return cases


def grpc_cases() -> list[GrpcCase]:
    """Return the inferences once more as unary calls."""
    cases = [
        GrpcCase(f"{model}: {name}", "ModelInfer", _message(model, body))
        for name, model, body in _inferences()
        if model != "detector"  # which counts requests
    ]
    models = sorted({model for _, model, _ in _inferences()})
    metadata = [GrpcCase(f"metadata {one}", "ModelMetadata", {"name": one}) for one in models]
    return [*cases, *metadata]


def stream_cases() -> list[StreamCase]:
    """Return streams to the model that answers word by word."""
    one = _message("words", {"inputs": [_texts("x", "a bc d")]})
    return [StreamCase("words", (one,)), StreamCase("words by their id", ({**one, "id": "7"},))]


def _all() -> Iterator[tuple[str, str, Any]]:
    for name, model, body in _inferences():
        yield name, f"/v2/models/{model}/infer", body
    for model in sorted({model for _, model, _ in _inferences()}):
        yield "metadata", f"/v2/models/{model}", None
        yield "ready", f"/v2/models/{model}/ready", None
    stream = {"inputs": [_texts("x", "to be or")]}
    yield "stream", "/v2/models/words/infer_stream", stream
    yield "stream", "/v2/models/words/generate_stream", stream
    yield "stream of a model that has none", "/v2/models/weights/infer_stream", _numbers([1.0])
    yield from _paths()


def _paths() -> Iterator[tuple[str, str, Any]]:
    yield "text", "/ping", None
    yield "numbers", "/sum", [1, 2, 3]
    yield "an error with a status", "/sum", [1, 2, 3, 4]
    yield "no list", "/sum", 1
    yield "texts", "/sum", ["a"]
    yield "numbers as texts", "/sum", ["1"]
    yield "a response", "/explain/large?depth=2", _numbers([1.0, 7.0])
    yield "a default", "/explain/small", _numbers([1.0, 7.0])
    yield "no request", "/explain/small", {"inputs": 1}
    yield "wrong query", "/explain/small?depth=x", _numbers([1.0, 7.0])
    yield "wrong method", "/sum", None


def _inferences() -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "texts", "texts", {"inputs": [_texts("args", "ab", "c")]}
    yield "times", "texts", {"inputs": [_texts("args", "ab", times=3)]}
    yield "an id", "texts", {"id": "7", "inputs": [_texts("args", "ab", content_type="str")]}
    times = {"name": "times", "shape": [1], "datatype": "INT64", "data": [2]}
    times["parameters"] = {"content_type": "np"}
    yield "an array beside", "texts", {"inputs": [_texts("args", "ä"), times]}
    listed = _texts("args", '{"a": 1}', content_type="json_list")
    yield "what fails", "texts", {"inputs": [listed]}
    yield "no input of the name", "texts", {"inputs": [_texts("other", "x")]}
    yield "a picture", "images", {"inputs": [_texts("a", PICTURE, content_type="img")]}
    yield "content", "images", {"inputs": [_texts("a", PICTURE, PICTURE)]}
    yield (
        "content by its type",
        "images",
        {
            "id": "x",
            "inputs": [_texts("a", PICTURE, content_type="base64", mine=1)],
            "parameters": {"mine": "too"},
            "outputs": [{"name": "a"}],
        },
    )
    pixels = {"name": "b", "datatype": "UINT8", "shape": [1, 2], "data": [3, 4]}
    pixels["parameters"] = {"content_type": "img"}
    yield "pixels", "images", {"inputs": [pixels]}
    yield "no base64", "images", {"inputs": [_texts("a", "x")]}
    yield "a frame", "frames", {"inputs": FRAME}
    yield "a frame that says so", "frames", {"inputs": FRAME, "parameters": {"content_type": "pd"}}
    yield "a column is missing", "frames", {"inputs": FRAME[1:]}
    numbers = _numbers([1.0, 2.0, 3.0, 4.0], [2, 2], "numbers")["inputs"][0]
    names = _texts("names", "ann", "bob lee")
    marks = _texts("marks", "!!", "?")
    yield "all", "arguments", {"inputs": [numbers, names, marks]}
    yield "without one", "arguments", {"inputs": [numbers, names]}
    yield "without what is needed", "arguments", {"inputs": [names]}
    yield "one too many", "arguments", {"inputs": [numbers, names, _texts("more", "x")]}
    yield "rows", "pool", _numbers([1.0, 2.0, 3.0, 4.0], [2, 2])
    yield (
        "integers",
        "pool",
        {"inputs": [{"name": "x", "datatype": "INT32", "shape": [2], "data": [3, 4]}]},
    )
    yield "two inputs", "pool", {"inputs": _numbers([1.0])["inputs"] * 2}
    yield "text", "words", {"inputs": [_texts("x", "a b")]}
    yield "numbers", "weights", _numbers([1.0, 2.5])
    yield "two inputs", "weights", {"inputs": _numbers([1.0])["inputs"] * 2}
    yield "an id", "weights", {"id": "my id", **_numbers([0.5], [1, 1])}
    yield "a largest", "paths", _numbers([1.0, 5.0, 2.0])
    yield "first", "detector", _numbers([1.0, 2.0], [1, 2])
    yield "second", "detector", _numbers([1.0, -9.0], [1, 2])
    yield "third", "detector", _numbers([9.0, 2.0], [1, 2])
    yield "all are", "detector", _numbers([9.0, 2.0], [1, 2])
    yield "fifth", "detector", _numbers([9.0])
    yield "wrong rank", "detector", _numbers([9.0])
    yield "texts", "router", {"id": "r", "inputs": [_texts("x", "one", "two", keep="it")]}


def _texts(name: str, *texts: str, **parameters: Any) -> dict[str, Any]:
    given = {"parameters": parameters} if parameters else {}
    return {"name": name, "datatype": "BYTES", "shape": [len(texts)], "data": [*texts], **given}


def _numbers(data: list[float], shape: list[int] | None = None, name: str = "x") -> dict[str, Any]:
    tensor = {"name": name, "datatype": "FP32", "shape": shape or [len(data)], "data": data}
    return {"inputs": [tensor]}


_FIELDS = {
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
}


def _message(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a `ModelInferRequest` that says what the JSON does."""
    fields: dict[str, Any] = {"model_name": model}
    fields |= {name: body[name] for name in ("id", "outputs") if name in body}
    if "parameters" in body:
        fields["parameters"] = _parameters(body["parameters"])
    fields["inputs"] = []
    for given in body["inputs"]:
        data = [one.encode() if isinstance(one, str) else one for one in given["data"]]
        tensor = {name: given[name] for name in ("name", "datatype", "shape")}
        tensor["contents"] = {_FIELDS[given["datatype"]]: data}
        tensor["parameters"] = _parameters(given.get("parameters", {}))
        fields["inputs"].append(tensor)
    return fields


def _parameters(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"string_param" if isinstance(value, str) else "int64_param": value}
        for name, value in values.items()
    }
