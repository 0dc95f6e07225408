"""Requests, good and bad, that both servers are asked: HTTP first, then gRPC."""

import json
import struct
from collections.abc import Iterator
from typing import Any

from tests.differential import triton_datatypes, triton_settings
from tests.differential.cases import GrpcCase, HttpCase, StreamCase

FOUR = [1.0, 2.0, 3.0, 4.0]


def http_cases() -> list[HttpCase]:
    """Return all HTTP requests, each with a name of its own."""
    return [*_reads(), *_infers(), *_datatypes(), *triton_datatypes.http_cases(), *_binary(),
            *_generates(), *_management(), *triton_settings.http_cases()]  # fmt: skip


def _case(name: str, method: str, path: str, body: Any = None, *headers: tuple[str, str]):
    encoded = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return HttpCase(name, method, path, encoded, headers)


def _reads() -> Iterator[HttpCase]:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/logging",
                 "/v2/trace/setting", "/", "/v2/", "/v2/models", "/nothing", "/v2/health",
                 "/v2/health/live/", "/v2/models/", "/v2?x=1", "/v2/systemsharedmemory/status",
                 "/v2/cudasharedmemory/status", "/v2/systemsharedmemory/region/x/status",
                 "/v2/cudasharedmemory/region/x/status"):  # fmt: skip
        for method in ("GET", "POST", "PUT"):
            yield _case(f"{method} {path}", method, path, b"" if method != "GET" else None)
    for model in ("m", "nobody", "stats"):
        for version in ("", "/versions/1", "/versions/9", "/versions/0", "/versions/x",
                        "/versions/-1", "/versions/99999999999999999999"):  # fmt: skip
            for tail in ("", "/ready", "/config", "/stats", "/trace/setting"):
                path = f"/v2/models/{model}{version}{tail}"
                yield _case(f"GET {path}", "GET", path)


def tensor(**changes: Any) -> dict[str, Any]:
    """Return input INPUT0 of model `m`, with members changed or (`...`) left out."""
    found = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "data": FOUR, **changes}
    return {name: value for name, value in found.items() if value is not ...}


def _infers() -> Iterator[HttpCase]:
    inputs: dict[str, Any] = {
        "good": [tensor()],
        "nested": [tensor(data=[FOUR])],
        "deeply nested": [tensor(data=[[[[1], [2]], [[3], [4]]]])],
        "two rows": [tensor(shape=[2, 4], data=FOUR * 2)],
        "integers": [tensor(data=[1, 2, 3, 4])],
        "too few": [tensor(data=[1, 2])],
        "too many": [tensor(data=[*FOUR, 5])],
        "no elements": [tensor(data=[])],
        "texts": [tensor(data=["a", "b", "c", "d"])],
        "truths": [tensor(data=[True, False, True, False])],
        "nulls": [tensor(data=[None] * 4)],
        "an object": [tensor(data={})],
        "a number": [tensor(data=1)],
        "a text": [tensor(data="abcd")],
        "no data": [tensor(data=...)],
        "no name": [tensor(name=...)],
        "no datatype": [tensor(datatype=...)],
        "no shape": [tensor(shape=...)],
        "name of another type": [tensor(name=1)],
        "datatype of another type": [tensor(datatype=1)],
        "shape of another type": [tensor(shape="1")],
        "dimension of another type": [tensor(shape=[1, "4"])],
        "negative dimension": [tensor(shape=[1, -4])],
        "fraction as dimension": [tensor(shape=[1, 4.0])],
        "wrong shape": [tensor(shape=[1, 3], data=[1, 2, 3])],
        "no batch": [tensor(shape=[4])],
        "no dimensions": [tensor(shape=[], data=[1])],
        "too large a batch": [tensor(shape=[9, 4], data=[0] * 36)],
        "empty batch": [tensor(shape=[0, 4], data=[])],
        "wrong datatype": [tensor(datatype="INT32", data=[1, 2, 3, 4])],
        "no such datatype": [tensor(datatype="FOO")],
        "half floats": [tensor(datatype="FP16")],
        "brain floats": [tensor(datatype="BF16")],
        "unknown input": [tensor(name="OTHER")],
        "same input twice": [tensor(), tensor()],
        "one input too many": [tensor(), tensor(name="OTHER")],
        "no inputs": [],
        "huge shape": [tensor(shape=[2**40, 2**40])],
        "no object": [1],
        "parameters of another type": [tensor(parameters=1)],
        "unknown parameter": [tensor(parameters={"mine": 1})],
        "size and data": [tensor(parameters={"binary_data_size": 16})],
    }
    for name, given in inputs.items():
        yield _case(f"infer: {name}", "POST", "/v2/models/m/infer", {"inputs": given})
    good = {"inputs": [tensor()]}
    bodies: dict[str, Any] = {
        "an id": {**good, "id": "x"},
        "an empty id": {**good, "id": ""},
        "an id of another type": {**good, "id": 5},
        "null as id": {**good, "id": None},
        "inputs are an object": {"inputs": {}},
        "nothing": {},
        "an array": [],
        "the body is a number": 1,
        "an unknown member": {**good, "mine": 1},
        "outputs": {**good, "outputs": [{"name": "OUTPUT0"}]},
        "no outputs": {**good, "outputs": []},
        "an unknown output": {**good, "outputs": [{"name": "OTHER"}]},
        "an output twice": {**good, "outputs": [{"name": "OUTPUT0"}] * 2},
        "an output without name": {**good, "outputs": [{}]},
        "outputs of another type": {**good, "outputs": 1},
    }
    for key, value in (("classification", 2), ("classification", 9), ("classification", 0),
                       ("classification", -1), ("classification", "x"), ("binary_data", True),
                       ("binary_data", 1), ("mine", 1)):  # fmt: skip
        wanted = [{"name": "OUTPUT0", "parameters": {key: value}}]
        bodies[f"output with {key} {value!r}"] = {**good, "outputs": wanted}
    for key, value in (
        ("sequence_id", 1), ("sequence_id", "a"), ("sequence_id", 1.5), ("sequence_id", -1),
        ("sequence_start", True), ("sequence_start", 1), ("priority", 0), ("priority", -1),
        ("priority", "x"), ("timeout", 1000000), ("timeout", -1), ("timeout", "x"),
        ("binary_data_output", True), ("binary_data_output", 1), ("triton_x", 1),
        ("triton_enable_empty_final_response", True), ("mine", 1), ("mine", "x"), ("mine", True),
        ("mine", 1.5), ("mine", None), ("mine", []), ("mine", {}),
    ):  # fmt: skip
        bodies[f"parameter {key} {value!r}"] = {**good, "parameters": {key: value}}
    for name, body in bodies.items():
        yield _case(f"infer: {name}", "POST", "/v2/models/m/infer", body)
    for name, raw in (("empty", b""), ("broken", b"{"), ("a word", b"nope"), ("no UTF-8", b"\xff"),
                      ("two documents", b"{}{}"), ("a comma", b'{"inputs":[],}'),
                      ("a text without end", b'{"a'), ("a number too large", b'{"a":1e999}'),
                      ("an escape", b'{"a":"\\x"}'), ("a comment", b"/**/{}")):  # fmt: skip
        yield _case(f"infer: body is {name}", "POST", "/v2/models/m/infer", raw)
    for path in ("nobody", "m/versions/9", "m/versions/1", "m/versions/0"):
        yield _case(f"infer at {path}", "POST", f"/v2/models/{path}/infer", good)


def _datatypes() -> Iterator[HttpCase]:
    values: dict[str, list[Any]] = {
        "BOOL": [True, False, 1, 0, 2, "x"],
        "UINT8": [0, 255, 256, -1, 1.5, "1"],
        "UINT16": [65535, 65536, -1],
        "UINT32": [2**32 - 1, 2**32, -1],
        "UINT64": [2**64 - 1, 2**64, -1],
        "INT8": [-128, 127, 128, True],
        "INT16": [-32768, 32768],
        "INT32": [-(2**31), 2**31],
        "INT64": [-(2**63), 2**63],
        "FP32": [1e-45, 3.4e38, 1e39, 0.1, -0.0, 16777217],
        "FP64": [1e308, 5e-324, 0.1, 2**53 + 1],
        "BYTES": ["", "abc", "äöü", "\u0000", "😀", 1, None],
    }
    for word, given in values.items():
        for value in given:
            name = "STRING" if word == "BYTES" else word
            one = {"name": f"IN_{name}", "datatype": word, "shape": [1], "data": [value]}
            yield _case(
                f"{word} {value!r}", "POST", "/v2/models/all_types/infer", {"inputs": [one]}
            )


def _binary() -> Iterator[HttpCase]:
    raw = struct.pack("<4f", *FOUR)

    def sent(name: str, size: Any, blob: bytes, length: int | str | None = None, **more: Any):
        one = tensor(data=..., parameters={"binary_data_size": size})
        head = json.dumps({"inputs": [one], **more}).encode()
        told = len(head) if length is None else length
        headers = (("Inference-Header-Content-Length", str(told)),)
        return HttpCase(f"binary: {name}", "POST", "/v2/models/m/infer", head + blob, headers)

    yield sent("good", 16, raw)
    yield sent("as text", 16, raw, outputs=[{"name": "OUTPUT0", "parameters": {"binary_data": 0}}])
    yield sent("short", 16, raw[:8])
    yield sent("long", 16, raw + b"xx")
    yield sent("size too small", 8, raw[:8])
    yield sent("size too large", 32, raw * 2)
    yield sent("size of another type", "16", raw)
    yield sent("negative size", -1, raw)
    yield sent("header of length too large", 16, raw, 100000)
    yield sent("header of length negative", 16, raw, -1)
    yield sent("header of length a word", 16, raw, "x")
    yield sent("header of length empty", 16, raw, "")
    yield HttpCase("binary: raw", "POST", "/v2/models/m/infer", raw,
                   (("Inference-Header-Content-Length", "0"),))  # fmt: skip


def _generates() -> Iterator[HttpCase]:
    for kind in ("generate", "generate_stream"):
        for name, body in (
            ("good", {"IN": "hello"}), ("with id", {"IN": "x", "id": "7"}),
            ("with parameters", {"IN": "x", "parameters": {"mine": 1}}), ("nothing", {}),
            ("a number", {"IN": 1}), ("an array", {"IN": ["a"]}), ("two", {"IN": ["a", "b"]}),
            ("unknown member", {"IN": "x", "other": 1}), ("null", {"IN": None}),
            ("parameters of another type", {"IN": "x", "parameters": 1}), ("no object", [1]),
        ):  # fmt: skip
            yield _case(f"{kind}: {name}", "POST", f"/v2/models/text/{kind}", body)
        yield _case(f"{kind}: broken", "POST", f"/v2/models/text/{kind}", b"{")
        yield _case(f"{kind}: unknown model", "POST", f"/v2/models/nobody/{kind}", {"IN": "x"})


def _management() -> Iterator[HttpCase]:
    bodies = (
        ("empty", b""),
        ("nothing", {}),
        ("ready", {"ready": True}),
        ("not ready", {"ready": False}),
        ("another type", {"ready": 1}),
        ("broken", b"{"),
    )
    for name, body in bodies:  # fmt: skip
        yield _case(f"index: {name}", "POST", "/v2/repository/index", body)
    yield _case("index of a repository", "POST", "/v2/repository/r/index", b"")
    for verb in ("load", "unload"):
        for name, body in (("empty", b""), ("broken", b"{"), ("no parameters", {}),
                           ("unknown parameter", {"parameters": {"mine": "x"}}),
                           ("parameters of another type", {"parameters": 1})):  # fmt: skip
            path = f"/v2/repository/models/nobody/{verb}"
            yield _case(f"{verb} of nobody: {name}", "POST", path, body)
        yield _case(f"{verb} in r", "POST", f"/v2/repository/r/models/m/{verb}", b"")
    for name, body in (
        ("info", {"log_info": True}), ("info of another type", {"log_info": 1}),
        ("file", {"log_file": "x"}), ("format", {"log_format": "ISO8601"}),
        ("format back", {"log_format": "default"}), ("no such format", {"log_format": "x"}),
        ("level", {"log_verbose_level": 0}), ("negative level", {"log_verbose_level": -1}),
        ("null", {"log_info": None}), ("broken", b"{"), ("unknown", {"mine": 1}),
    ):  # fmt: skip
        yield _case(f"logging: {name}", "POST", "/v2/logging", body)
    for name, body in (
        ("rate", {"trace_rate": "10"}), ("rate back", {"trace_rate": None}),
        ("rate of another type", {"trace_rate": 1}), ("rate a word", {"trace_rate": "x"}),
        ("count", {"trace_count": "-2"}), ("file", {"trace_file": "x"}),
        ("level on", {"trace_level": ["TIMESTAMPS"]}), ("level off", {"trace_level": ["OFF"]}),
        ("two levels", {"trace_level": ["OFF", "TENSORS"]}), ("a word", {"trace_level": "OFF"}),
        ("broken", b"{"), ("unknown", {"mine": 1}),
    ):  # fmt: skip
        yield _case(f"trace: {name}", "POST", "/v2/trace/setting", body)
    for name, body in (
        ("nothing", {}), ("no size", {"key": "/x"}),
        ("no such memory", {"key": "/x", "byte_size": 1}),
        ("key of another type", {"key": 1, "byte_size": 1}),
        ("negative size", {"key": "/x", "byte_size": -1}), ("empty", b""), ("broken", b"{"),
    ):  # fmt: skip
        path = "/v2/systemsharedmemory/region/x/register"
        yield _case(f"register: {name}", "POST", path, body)
    yield _case("register without name", "POST", "/v2/systemsharedmemory/register",
                {"key": "/x", "byte_size": 1})  # fmt: skip
    for kind in ("system", "cuda"):
        for path in ("unregister", "region/x/unregister"):
            yield _case(f"{kind} {path}", "POST", f"/v2/{kind}sharedmemory/{path}", b"")
    region = {"shared_memory_region": "x", "shared_memory_byte_size": 16}
    one = tensor(data=..., parameters=region)
    yield _case("infer: unknown region", "POST", "/v2/models/m/infer", {"inputs": [one]})


def grpc_cases() -> list[GrpcCase]:
    """Return all unary calls."""
    return [*_grpc_reads(), *_grpc_infers(), *triton_datatypes.grpc_cases(),
            *triton_settings.grpc_cases()]  # fmt: skip


def stream_cases() -> list[StreamCase]:
    """Return all streams."""
    raw = struct.pack("<4f", *FOUR)
    place = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4]}
    good = {"model_name": "m", "id": "a", "inputs": [place], "raw_input_contents": [raw]}
    final = {"triton_enable_empty_final_response": {"bool_param": True}}

    def words(count: int, **more: Any) -> dict[str, Any]:
        return {
            "model_name": "several",
            "id": str(count),
            "inputs": [{"name": "COUNT", "datatype": "INT32", "shape": [1]}],
            "raw_input_contents": [struct.pack("<i", count)],
            **more,
        }

    return [
        StreamCase("nothing", ()),
        StreamCase("one", (good,)),
        StreamCase("several", (good, {**good, "id": "b"})),
        StreamCase("final mark", ({**good, "parameters": final},)),
        StreamCase("unknown model", ({**good, "model_name": "nobody"},)),
        StreamCase("unknown version", ({**good, "model_version": "9"},)),
        StreamCase("a wrong one", ({**good, "raw_input_contents": [raw[:8]]},)),
        StreamCase("no input", ({"model_name": "m", "id": "a"},)),
        StreamCase("an empty request", ({},)),
        StreamCase("decoupled, none", (words(0, parameters=final),)),
        StreamCase("decoupled, one", (words(1),)),
        StreamCase("decoupled, three", (words(3),)),
        StreamCase("decoupled, three and a mark", (words(3, parameters=final),)),
    ]


def _grpc_reads() -> Iterator[GrpcCase]:
    for method in ("ServerLive", "ServerReady", "ServerMetadata", "LogSettings", "TraceSetting",
                   "SystemSharedMemoryStatus", "CudaSharedMemoryStatus",
                   "SystemSharedMemoryUnregister", "CudaSharedMemoryUnregister",
                   "RepositoryIndex"):  # fmt: skip
        yield GrpcCase(method, method, {})
    for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
        for name in ("m", "nobody", ""):
            for version in ("", "1", "9", "x", "-1", "0"):
                fields = {"name": name, "version": version}
                yield GrpcCase(f"{method} {name!r} {version!r}", method, fields)
    for name, method, fields in (
        ("index of a repository", "RepositoryIndex", {"repository_name": "r"}),
        ("ready index", "RepositoryIndex", {"ready": True}),
        ("load in r", "RepositoryModelLoad", {"repository_name": "r", "model_name": "m"}),
        ("load of nobody", "RepositoryModelLoad", {"model_name": "nobody"}),
        ("load with a parameter", "RepositoryModelLoad",
         {"model_name": "m", "parameters": {"mine": {"string_param": "x"}}}),
        ("load with a config of another type", "RepositoryModelLoad",
         {"model_name": "m", "parameters": {"config": {"bool_param": True}}}),
        ("load with a file of another type", "RepositoryModelLoad",
         {"model_name": "m", "parameters": {"file:1/x": {"string_param": "x"}}}),
        ("unload in r", "RepositoryModelUnload", {"repository_name": "r", "model_name": "m"}),
        ("unload of nobody", "RepositoryModelUnload", {"model_name": "nobody"}),
        ("unload with a word", "RepositoryModelUnload",
         {"model_name": "nobody", "parameters": {"unload_dependents": {"string_param": "x"}}}),
        ("register nothing", "SystemSharedMemoryRegister",
         {"name": "x", "key": "/nothing", "byte_size": 1}),
        ("status of nothing", "SystemSharedMemoryStatus", {"name": "x"}),
        ("cuda status of nothing", "CudaSharedMemoryStatus", {"name": "x"}),
        ("log of another type", "LogSettings", {"settings": {"log_info": {"string_param": "x"}}}),
        ("log file", "LogSettings", {"settings": {"log_file": {"string_param": "x"}}}),
        ("log format", "LogSettings", {"settings": {"log_format": {"string_param": "x"}}}),
        ("trace of nobody", "TraceSetting", {"model_name": "nobody"}),
        ("trace rate a word", "TraceSetting", {"settings": {"trace_rate": {"value": ["x"]}}}),
        ("two trace rates", "TraceSetting", {"settings": {"trace_rate": {"value": ["1", "2"]}}}),
    ):  # fmt: skip
        yield GrpcCase(name, method, fields)


def _grpc_infers() -> Iterator[GrpcCase]:
    raw = struct.pack("<4f", *FOUR)
    place = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4]}
    typed = {**place, "contents": {"fp32_contents": FOUR}}

    def sent(name: str, *inputs: Any, raws: tuple[bytes, ...] = (), model: str = "m", **more: Any):
        fields = {"model_name": model, "inputs": list(inputs), "raw_input_contents": list(raws)}
        return GrpcCase(f"infer: {name}", "ModelInfer", {**fields, **more})

    yield sent("raw", place, raws=(raw,))
    yield sent("typed", typed)
    yield sent("both", typed, raws=(raw,))
    yield sent("neither", place)
    yield sent("nothing")
    yield sent("short", place, raws=(raw[:8],))
    yield sent("long", place, raws=(raw * 2,))
    yield sent("an entry too many", place, raws=(raw, raw))
    yield sent("unknown model", place, raws=(raw,), model="nobody")
    yield sent("unknown version", place, raws=(raw,), model_version="9")
    yield sent("wrong version", place, raws=(raw,), model_version="x")
    yield sent("an id", place, raws=(raw,), id="x")
    yield sent("wrong field", {**place, "contents": {"int_contents": [1, 2, 3, 4]}})
    yield sent("two fields", {**place, "contents": {"fp32_contents": FOUR, "int_contents": [1]}})
    yield sent("wrong shape", {**place, "shape": [1, 3]}, raws=(raw[:12],))
    yield sent("negative dimension", {**place, "shape": [1, -4]}, raws=(raw,))
    yield sent("wrong datatype", {**place, "datatype": "INT32"}, raws=(raw,))
    yield sent("no such datatype", {**place, "datatype": "FOO"}, raws=(raw,))
    yield sent("unknown input", {**place, "name": "OTHER"}, raws=(raw,))
    yield sent("same input twice", place, place, raws=(raw, raw))
    yield sent("output", place, raws=(raw,), outputs=[{"name": "OUTPUT0"}])
    yield sent("unknown output", place, raws=(raw,), outputs=[{"name": "OTHER"}])
    for value in ({"int64_param": 2}, {"int64_param": 0}, {"int64_param": -1},
                  {"string_param": "2"}, {"bool_param": True}):  # fmt: skip
        wanted = [{"name": "OUTPUT0", "parameters": {"classification": value}}]
        yield sent(f"classification {value}", place, raws=(raw,), outputs=wanted)
    for key, value in (
        ("sequence_id", {"int64_param": 1}), ("sequence_id", {"string_param": "a"}),
        ("sequence_id", {"bool_param": True}), ("sequence_start", {"int64_param": 1}),
        ("priority", {"int64_param": -1}), ("priority", {"string_param": "x"}),
        ("priority", {"uint64_param": 0}), ("timeout", {"string_param": "x"}),
        ("timeout", {"int64_param": 1000000}), ("triton_x", {"int64_param": 1}),
        ("triton_enable_empty_final_response", {"bool_param": True}),
        ("mine", {"double_param": 1.5}), ("mine", {"uint64_param": 1}), ("mine", {}),
    ):  # fmt: skip
        yield sent(f"parameter {key} {value}", place, raws=(raw,), parameters={key: value})
    region = {"shared_memory_region": {"string_param": "x"}}
    yield sent("unknown region", {**place, "parameters": region})
