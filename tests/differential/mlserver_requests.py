"""Requests, good and bad, that MLServer and mpserve are asked: HTTP first, then gRPC."""

import json
import struct
from collections.abc import Iterator
from typing import Any

from tests.differential.cases import GrpcCase, HttpCase, StreamCase

FOUR = [1.0, 2.0, 3.0, 4.0]
ECHO = "/v2/models/echo/infer"


def http_cases() -> list[HttpCase]:
    """Return all HTTP requests, each with a name of its own; those that change state come last."""
    return [*_reads(), *_infers(), *_datatypes(), *_contents(), *_binary(), *_streams(),
            *_estimator(), *_management()]  # fmt: skip


def grpc_cases() -> list[GrpcCase]:
    """Return all unary calls."""
    return [*_grpc_reads(), *_grpc_infers(), *_grpc_management()]


def stream_cases() -> list[StreamCase]:
    """Return all streams."""
    good = {"model_name": "texts", "inputs": [_text("a b c")]}
    echoed = {"model_name": "echo", "inputs": [_grpc_tensor()], "raw_input_contents": [_RAW]}

    def whole(*words: str, **more: Any) -> dict[str, Any]:
        return {"model_name": "whole", "inputs": [_text(*words)], **more}

    strange = {**_text("b"), "datatype": "FOO"}
    raw_text = {"name": "text", "datatype": "BYTES", "shape": [1]}
    raw = {"model_name": "whole", "inputs": [raw_text], "raw_input_contents": [b"\1\0\0\0a"]}
    typed = {"model_name": "echo", "inputs": [_grpc_tensor(contents={"fp32_contents": FOUR})]}
    return [
        StreamCase("as a whole", (whole("a", id="1"), whole("b", "c", id="2"), whole("d"))),
        StreamCase("without an id", (whole("a"), whole("b", id="2"))),
        StreamCase("first with an id", (whole("a", id="1"), whole("b"))),
        StreamCase(
            "further models",
            (whole("a", id="1"), whole("b", model_name="nobody"), whole("c", model_name="echo")),
        ),
        StreamCase("raised in the middle", (whole("a", id="1"), whole("raise"), whole("b"))),
        StreamCase("raised at once", (whole("raise", id="1"), whole("b"))),
        StreamCase("told in the middle", (whole("a", id="1"), whole("told"), whole("b"))),
        StreamCase("ended in the middle", (whole("a", id="1"), whole("stop"), whole("b"))),
        StreamCase("ended at once", (whole("stop", id="1"), whole("b"))),
        StreamCase("answered at the end", (whole("quiet", id="1"), whole("quiet"))),
        StreamCase(
            "strange in the middle", (whole("a", id="1"), whole("b", inputs=[strange]), whole("c"))
        ),
        StreamCase("strange at first", (whole("b", id="1", inputs=[strange]), whole("c"))),
        StreamCase("raw at first", ({**raw, "id": "1"}, whole("b"))),
        StreamCase("raw in the middle", (whole("a", id="1"), raw, whole("c"))),
        StreamCase(
            "several to who streams none",
            ({**typed, "id": "1"}, {**typed, "id": "2"}, {**typed, "id": "3"}),
        ),
        StreamCase("one", (good,)),
        StreamCase("two", (good, good)),
        StreamCase("echo", (echoed,)),
        StreamCase("nobody", ({**good, "model_name": "nobody"},)),
        StreamCase("nothing", ({},)),
        StreamCase("no requests", ()),
    ]


_RAW = struct.pack("<4f", *FOUR)


def _case(name: str, method: str, path: str, body: Any = None, *headers: tuple[str, str]):
    if body is None or isinstance(body, bytes):
        return HttpCase(name, method, path, body, headers)
    kind = ("Content-Type", "application/json")
    return HttpCase(name, method, path, json.dumps(body).encode(), (kind, *headers))


def _reads() -> Iterator[HttpCase]:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/", "/v2/", "/v2/models",
                 "/nothing", "/v2/health", "/v2/health/live/", "/v2/models/", "/v2?x=1",
                 "/metrics", "/openapi.json", ECHO, "/v2/models/echo/infer_stream",
                 "/v2/models/echo/generate", "/v2/models/stats", "/v2/logging",
                 "/v2/systemsharedmemory/status"):  # fmt: skip
        for method in ("GET", "PUT", "DELETE"):
            yield _case(f"{method} {path}", method, path, b"" if method != "GET" else None)
    for model in ("echo", "versioned", "nobody", "broken", "sk"):
        for version in ("", "/versions/v1", "/versions/9", "/versions/", "/versions/a%20b"):
            for tail in ("", "/ready", "/config", "/stats"):
                path = f"/v2/models/{model}{version}{tail}"
                yield _case(f"GET {path}", "GET", path)


def tensor(**changes: Any) -> dict[str, Any]:
    """Return an input, with members changed or (`...`) left out."""
    found = {"name": "x", "datatype": "FP32", "shape": [4], "data": FOUR, **changes}
    return {name: value for name, value in found.items() if value is not ...}


def _infers() -> Iterator[HttpCase]:
    inputs: dict[str, Any] = {
        "good": [tensor()],
        "nested": [tensor(shape=[2, 2], data=[[1, 2], [3, 4]])],
        "integers": [tensor(data=[1, 2, 3, 4])],
        "too few": [tensor(data=[1, 2])],
        "no elements": [tensor(data=[])],
        "empty": [tensor(shape=[0], data=[])],
        "texts": [tensor(data=["a", "b", "c", "d"])],
        "truths": [tensor(data=[True, False, True, False])],
        "nulls": [tensor(data=[None] * 4)],
        "an object": [tensor(data={})],
        "a number": [tensor(data=1)],
        "a text": [tensor(data="abcd")],
        "null data": [tensor(data=None)],
        "no data": [tensor(data=...)],
        "no name": [tensor(name=...)],
        "no datatype": [tensor(datatype=...)],
        "no shape": [tensor(shape=...)],
        "name of another type": [tensor(name=1)],
        "null name": [tensor(name=None)],
        "datatype of another type": [tensor(datatype=1)],
        "shape of another type": [tensor(shape="1")],
        "a number as text in the shape": [tensor(shape=["4"])],
        "a word in the shape": [tensor(shape=["x"])],
        "negative dimension": [tensor(shape=[-4])],
        "whole fraction as dimension": [tensor(shape=[4.0])],
        "fraction as dimension": [tensor(shape=[4.5])],
        "no dimensions": [tensor(shape=[], data=[1])],
        "no such datatype": [tensor(datatype="FOO")],
        "datatype in small letters": [tensor(datatype="fp32")],
        "same input twice": [tensor(), tensor()],
        "two inputs": [tensor(), tensor(name="y", data=[9, 9, 9, 9])],
        "no object": [1],
        "null": [None],
        "parameters of another type": [tensor(parameters=1)],
        "null parameters": [tensor(parameters=None)],
        "unknown parameter": [tensor(parameters={"mine": 1})],
        "nested parameter": [tensor(parameters={"mine": {"a": [1]}})],
        "content type": [tensor(parameters={"content_type": "np"})],
        "unknown content type": [tensor(parameters={"content_type": "nope"})],
        "content type of another type": [tensor(parameters={"content_type": 1})],
        "unknown member": [tensor(mine=1)],
    }
    for name, given in inputs.items():
        yield _case(f"input: {name}", "POST", ECHO, {"inputs": given})
    good = {"inputs": [tensor()]}
    bodies: dict[str, Any] = {
        "an id": {**good, "id": "x"},
        "an empty id": {**good, "id": ""},
        "an id of another type": {**good, "id": 5},
        "null as id": {**good, "id": None},
        "inputs are an object": {"inputs": {}},
        "inputs are null": {"inputs": None},
        "no inputs": {"inputs": []},
        "nothing": {},
        "an array": [],
        "the body is a number": 1,
        "the body is null": b"null",
        "an unknown member": {**good, "mine": 1},
        "outputs": {**good, "outputs": [{"name": "out"}]},
        "no outputs": {**good, "outputs": []},
        "an unknown output": {**good, "outputs": [{"name": "OTHER"}]},
        "an output without name": {**good, "outputs": [{}]},
        "an output with content type":
            {**good, "outputs": [{"name": "out", "parameters": {"content_type": "np"}}]},
        "outputs of another type": {**good, "outputs": 1},
        "parameters": {**good, "parameters": {"mine": 1}},
        "headers as parameter": {**good, "parameters": {"headers": {"a": "b"}}},
        "parameters of another type": {**good, "parameters": 1},
        "content type": {**good, "parameters": {"content_type": "np"}},
    }  # fmt: skip
    for name, body in bodies.items():
        yield _case(f"infer: {name}", "POST", ECHO, body)
    kind = ("Content-Type", "application/json")
    for name, raw in (("empty", b""), ("broken", b"{"), ("a word", b"nope"), ("no UTF-8", b"\xff"),
                      ("two documents", b"{}{}"), ("a comma", b'{"inputs":[],}'),
                      ("a text without end", b'{"a'), ("an escape", b'{"a":"\\x"}'),
                      ("NaN", b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32",'
                              b'"data":[NaN]}]}')):  # fmt: skip
        yield _case(f"infer: body is {name}", "POST", ECHO, raw, kind)
    for kind_word in ("text/plain", "application/octet-stream", "application/vnd.x+json", "nope"):
        yield _case(f"infer: {kind_word}", "POST", ECHO, json.dumps(good).encode(),
                    ("Content-Type", kind_word))  # fmt: skip
    yield _case("infer: no content type", "POST", ECHO, json.dumps(good).encode())
    for path in ("nobody", "broken", "versioned", "versioned/versions/v1", "versioned/versions/9",
                 "echo/versions/1"):  # fmt: skip
        yield _case(f"infer at {path}", "POST", f"/v2/models/{path}/infer", good)


def _datatypes() -> Iterator[HttpCase]:
    values: dict[str, list[Any]] = {
        "BOOL": [True, 1, "x"], "UINT8": [0, 255], "UINT16": [65535], "UINT32": [2**32 - 1],
        "UINT64": [2**64 - 1], "INT8": [-128], "INT16": [-32768], "INT32": [-(2**31)],
        "INT64": [-(2**63)], "FP16": [0.5], "FP32": [0.1, 16777217, -0.0],
        "FP64": [1e308, 5e-324, 0.1], "BYTES": ["", "abc", "äöü", "😀", 1],
    }  # fmt: skip
    for word, given in values.items():
        for value in given:
            one = {"name": "x", "datatype": word, "shape": [1], "data": [value]}
            yield _case(f"{word} {value!r}", "POST", ECHO, {"inputs": [one]})


def _contents() -> Iterator[HttpCase]:
    """Content types that are decoded before the model sees them, and encoded again."""
    text = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a b", "ü"]}
    for name, one in {
        "str": {**text, "parameters": {"content_type": "str"}},
        "none": text,
        "base64": {**text, "data": ["YQ==", "w7w="], "parameters": {"content_type": "base64"}},
        "datetime": {**text, "data": ["2026-01-01T00:00:00", "2026-01-02T00:00:00"],
                     "parameters": {"content_type": "datetime"}},
        "np": {**text, "datatype": "FP64", "data": [1.5, 2.5],
               "parameters": {"content_type": "np"}},
        "np of another shape": {**text, "datatype": "FP64", "data": [1.5], "shape": [2],
                                "parameters": {"content_type": "np"}},
        "one text": {**text, "shape": [1], "data": "alone", "parameters": {"content_type": "str"}},
    }.items():  # fmt: skip
        yield _case(f"texts: {name}", "POST", "/v2/models/texts/infer", {"inputs": [one]})


def _binary() -> Iterator[HttpCase]:
    def sent(name: str, size: Any, blob: bytes, length: int | str | None = None):
        one = tensor(data=..., parameters={"binary_data_size": size})
        head = json.dumps({"inputs": [one]}).encode()
        told = len(head) if length is None else length
        headers = (
            ("Inference-Header-Content-Length", str(told)),
            ("Content-Type", "application/octet-stream"),
        )
        return HttpCase(f"binary: {name}", "POST", ECHO, head + blob, headers)

    yield sent("good", 16, _RAW)
    yield sent("short", 16, _RAW[:8])
    yield sent("long", 16, _RAW + b"xx")
    yield sent("header of length too large", 16, _RAW, 100000)


def _streams() -> Iterator[HttpCase]:
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a b c"]}
    for path in ("infer_stream", "generate_stream", "infer", "generate"):
        place = f"/v2/models/texts/{path}"
        yield _case(f"{path} of texts: good", "POST", place, {"id": "x", "inputs": [text]})
        yield _case(f"{path} of texts: nothing", "POST", place, {})
        yield _case(
            f"{path} of texts: broken", "POST", place, b"{", ("Content-Type", "application/json")
        )
        yield _case(f"{path} of texts: unknown model", "POST", f"/v2/models/nobody/{path}",
                    {"inputs": [text]})  # fmt: skip
        yield _case(f"{path} of texts: no stream", "POST", f"/v2/models/echo/{path}",
                    {"id": "x", "inputs": [tensor()]})  # fmt: skip


def _estimator() -> Iterator[HttpCase]:
    row = {"name": "predict", "shape": [1, 2], "datatype": "FP64", "data": [0.0, 1.0]}
    for name, one in {
        "good": row,
        "two rows": {**row, "shape": [2, 2], "data": [0, 1, 1, 0]},
        "no parameters": {**row, "datatype": "INT64", "data": [0, 1]},
        "wrong width": {**row, "shape": [1, 3], "data": [0, 1, 2]},
    }.items():
        yield _case(f"sklearn: {name}", "POST", "/v2/models/sk/infer", {"id": "x", "inputs": [one]})
    for wanted in ("predict", "predict_proba", "transform", "nope"):
        yield _case(f"sklearn: output {wanted}", "POST", "/v2/models/sk/infer",
                    {"id": "x", "inputs": [row], "outputs": [{"name": wanted}]})  # fmt: skip


def _management() -> Iterator[HttpCase]:
    for name, body in (
        ("nothing", {}), ("ready", {"ready": True}), ("not ready", {"ready": False}),
        ("a number", {"ready": 1}), ("two", {"ready": 2}), ("a word", {"ready": "yes"}),
        ("null", {"ready": None}), ("unknown", {"mine": 1}), ("an array", []), ("broken", b"{"),
        ("empty", b""),
    ):  # fmt: skip
        yield _case(f"index: {name}", "POST", "/v2/repository/index", body)
    for name, path in (
        ("unload of nobody", "nobody/unload"), ("load of nobody", "nobody/load"),
        ("unload", "versioned/unload"), ("unload again", "versioned/unload"),
        ("load", "versioned/load"), ("load again", "versioned/load"),
        ("load of what is broken", "broken/load"), ("a dot", "./load"),
    ):  # fmt: skip
        yield _case(f"repository: {name}", "POST", f"/v2/repository/models/{path}", b"")


def _grpc_tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [4], **changes}


def _text(*texts: str) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)],
            "contents": {"bytes_contents": [text.encode() for text in texts]}}  # fmt: skip


def _grpc_reads() -> Iterator[GrpcCase]:
    for method in ("ServerLive", "ServerReady", "ServerMetadata"):
        yield GrpcCase(method, method, {})
    for method in ("ModelReady", "ModelMetadata"):
        for name, version in (
            ("echo", ""), ("echo", "1"), ("versioned", ""), ("versioned", "v1"),
            ("versioned", "9"), ("nobody", ""), ("", ""), ("sk", ""),
        ):  # fmt: skip
            yield GrpcCase(
                f"{method} {name!r} {version!r}", method, {"name": name, "version": version}
            )
    for ready in (True, False):
        yield GrpcCase(f"index, ready {ready}", "RepositoryIndex", {"ready": ready})


def _grpc_infers() -> Iterator[GrpcCase]:
    def sent(
        name: str, *inputs: Any, raws: tuple[bytes, ...] = (), model: str = "echo", **more: Any
    ):
        fields = {"model_name": model, "inputs": list(inputs), "raw_input_contents": list(raws)}
        return GrpcCase(f"infer: {name}", "ModelInfer", {**fields, **more})

    typed = _grpc_tensor(contents={"fp32_contents": FOUR})
    yield sent("raw", _grpc_tensor(), raws=(_RAW,))
    yield sent("typed", typed)
    yield sent("both", typed, raws=(_RAW,))
    yield sent("neither", _grpc_tensor())
    yield sent("nothing")
    yield sent("short", _grpc_tensor(), raws=(_RAW[:8],))
    yield sent("long", _grpc_tensor(), raws=(_RAW * 2,))
    yield sent("an entry too many", _grpc_tensor(), raws=(_RAW, _RAW))
    yield sent("two inputs", typed, {**typed, "name": "y"})
    yield sent("unknown model", typed, model="nobody")
    yield sent("no model", typed, model="")
    yield sent("a version", typed, model="versioned", model_version="v1")
    yield sent("unknown version", typed, model="versioned", model_version="9")
    yield sent("an id", typed, id="x")
    yield sent("wrong field", _grpc_tensor(contents={"int_contents": [1, 2, 3, 4]}))
    yield sent("negative dimension", _grpc_tensor(shape=[-4], contents=typed["contents"]))
    yield sent("no such datatype", _grpc_tensor(datatype="FOO", contents=typed["contents"]))
    yield sent("no datatype", _grpc_tensor(datatype="", contents=typed["contents"]))
    yield sent("output", typed, outputs=[{"name": "out"}])
    yield sent("text", _text("a b c"), model="texts")
    for word, field, value in (
        ("BOOL", "bool_contents", True), ("UINT8", "uint_contents", 255),
        ("UINT64", "uint64_contents", 2**64 - 1), ("INT8", "int_contents", -128),
        ("INT64", "int64_contents", -(2**63)), ("FP64", "fp64_contents", 0.1),
        ("BYTES", "bytes_contents", "ü".encode()), ("FP16", "fp32_contents", 0.5),
    ):  # fmt: skip
        one = {"name": "x", "datatype": word, "shape": [1], "contents": {field: [value]}}
        yield sent(f"datatype {word}", one)
    for key, value in (
        ("mine", {"int64_param": 1}), ("mine", {"string_param": "x"}),
        ("mine", {"bool_param": True}), ("content_type", {"string_param": "np"}),
        ("content_type", {"string_param": "nope"}), ("mine", {}),
    ):  # fmt: skip
        yield sent(f"parameter {key} {value}", typed, parameters={key: value}, id="x")
        yield sent(
            f"tensor's parameter {key} {value}", {**typed, "parameters": {key: value}}, id="x"
        )
    yield sent("sklearn", {"name": "p", "datatype": "FP64", "shape": [1, 2],
                           "contents": {"fp64_contents": [0, 1]}}, model="sk", id="x")  # fmt: skip


def _grpc_management() -> Iterator[GrpcCase]:
    for name, method, model in (
        ("unload of nobody", "RepositoryModelUnload", "nobody"),
        ("load of nobody", "RepositoryModelLoad", "nobody"),
        ("unload", "RepositoryModelUnload", "versioned"),
        ("unload again", "RepositoryModelUnload", "versioned"),
        ("load", "RepositoryModelLoad", "versioned"),
        ("load of what is broken", "RepositoryModelLoad", "broken"),
    ):  # fmt: skip
        yield GrpcCase(name, method, {"model_name": model})
