"""Trace and log settings in an order that matters: the server's, a model's, changed, cleared."""

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.differential.cases import GrpcCase, HttpCase

SERVER: Final = "/v2/trace/setting"
MODEL: Final = "/v2/models/m/trace/setting"
LOG: Final = "/v2/logging"


def http_cases() -> Iterator[HttpCase]:
    """Return changes, each with looks at what they did; the last ones undo all."""
    changes: tuple[tuple[str, Any], ...] = (
        (MODEL, {"trace_rate": "7"}),
        (SERVER, {"trace_rate": "9", "trace_count": "5"}),
        (MODEL, {"trace_rate": None}),
        (MODEL, {"trace_level": ["TIMESTAMPS"], "log_frequency": "3"}),
        (SERVER, {"trace_level": ["TIMESTAMPS", "TENSORS"]}),
        (MODEL, {"trace_level": []}),
        (MODEL, {"trace_level": ["OFF"]}),
        (MODEL, {"trace_level": None, "log_frequency": None}),
        (MODEL, {"trace_count": "-1"}),
        (MODEL, {"trace_count": "x"}),
        (MODEL, {"trace_level": ["NOPE"]}),
        (MODEL, {"trace_mode": "opentelemetry"}),
        (MODEL, {"trace_rate": "1", "trace_count": "x"}),
        (MODEL, {}),
        ("/v2/models/nobody/trace/setting", {"trace_rate": "1"}),
        (SERVER, {"trace_rate": None, "trace_count": None, "trace_level": None}),
        (MODEL, {"trace_rate": None, "trace_count": None, "trace_level": None,
                 "log_frequency": None}),
        (LOG, {"log_info": False, "log_warning": False}),
        (LOG, {"log_verbose_level": 2}),
        (LOG, {"log_verbose_level": 0, "log_error": "x"}),
        (LOG, {}),
        (LOG, {"log_info": True, "log_warning": True, "log_verbose_level": 0}),
        (LOG, {"log_verbose_level": 1.5}),
        (LOG, {"log_verbose_level": 2**40}),
    )  # fmt: skip
    for number, (path, body) in enumerate(changes):
        name = f"settings {number}: {json.dumps(body)} to {path}"
        yield HttpCase(name, "POST", path, json.dumps(body).encode())
        for place in (LOG,) if path == LOG else (SERVER, MODEL):
            yield HttpCase(f"{name}, then {place}", "GET", place)


def grpc_cases() -> Iterator[GrpcCase]:
    """Return the same over gRPC."""
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("m", {"trace_rate": {"value": ["7"]}}),
        ("", {"trace_rate": {"value": ["9"]}, "trace_count": {"value": ["5"]}}),
        ("m", {"trace_rate": {}}),
        ("m", {"trace_level": {"value": ["TIMESTAMPS"]}, "log_frequency": {"value": ["3"]}}),
        ("", {"trace_level": {"value": ["TIMESTAMPS", "TENSORS"]}}),
        ("m", {"trace_level": {"value": ["OFF"]}}),
        ("m", {"trace_level": {}, "log_frequency": {}}),
        ("m", {"trace_count": {"value": ["x"]}}),
        ("m", {"trace_level": {"value": ["NOPE"]}}),
        ("m", {"trace_level": {"value": ["OFF", "TIMESTAMPS"]}}),
        ("m", {"trace_mode": {"value": ["triton"]}}),
        ("m", {"mine": {"value": ["1"]}}),
        ("nobody", {"trace_rate": {"value": ["1"]}}),
        ("", {"trace_rate": {}, "trace_count": {}, "trace_level": {}}),
        ("m", {"trace_rate": {}, "trace_count": {}, "trace_level": {}, "log_frequency": {}}),
    )
    for number, (model, settings) in enumerate(changes):
        name = f"settings {number}: {json.dumps(settings)} of '{model}'"
        yield GrpcCase(name, "TraceSetting", {"model_name": model, "settings": settings})
        for place in ("", "m"):
            yield GrpcCase(f"{name}, then '{place}'", "TraceSetting", {"model_name": place})
    logs: tuple[dict[str, Any], ...] = (
        {"log_info": {"bool_param": False}, "log_verbose_level": {"uint32_param": 2}},
        {"log_verbose_level": {"bool_param": True}},
        {"log_format": {"string_param": "ISO8601"}},
        {"mine": {"bool_param": True}},
        {"log_info": {}},
        {"log_info": {"bool_param": True}, "log_verbose_level": {"uint32_param": 0},
         "log_format": {"string_param": "default"}},
    )  # fmt: skip
    for number, settings in enumerate(logs):
        name = f"log settings {number}: {json.dumps(settings)}"
        yield GrpcCase(name, "LogSettings", {"settings": settings})
        yield GrpcCase(f"{name}, then", "LogSettings", {})
