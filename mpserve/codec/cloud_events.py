"""CloudEvents attributes, which MLServer puts among the headers of its answers, and shows its
models with the headers of their requests.

Attributes and headers travel as pairs (`codec.header_pairs`); the core adds what is an answer's
own, and knows what a head and metadata can carry.

Source: MLServer 1.7.1 as seen running; CloudEvents 0.3, HTTP binding.
"""

from typing import Any

import msgspec
import orjson

from mpserve._native import event_pairs, grpc_pairs_of, http_fields_of
from mpserve.codec.header_pairs import from_pairs, to_pairs
from mpserve.model.binary_metadata import is_marked

_REQUEST = "io.seldon.serving.inference.request"
_RESPONSE = "io.seldon.serving.inference.response"


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes that all requests, and all answers, of a server have; b"" where they have none."""

    request: bytes = b""
    answer: bytes = b""

    def of_answer(self, *, model_name: str, answer_id: str | None) -> bytes:
        """Return all attributes of an answer."""
        return event_pairs(self.answer, model_name=model_name, id=answer_id or "")


def events_of(server_name: str, *, namespace: str = "") -> Events:
    """Return the attributes of a server; `namespace` is Kubernetes' one, "" outside of it.

    What is a model's or a request's own, the worker adds.
    """
    place = f"io.seldon.serving.deployment.{server_name}"
    source = f"{place}.{namespace}" if namespace else place
    return Events(
        request=_pairs(_REQUEST, source, server_name, namespace),
        answer=_pairs(_RESPONSE, source, server_name, namespace),
    )


def http_fields(headers: bytes, events: bytes) -> list[tuple[bytes, bytes]]:
    """Return the attributes of an answer and its model's own headers as fields of a head.

    What a head can not carry is left out.
    """
    return http_fields_of(headers, events=events)


def grpc_metadata(headers: bytes, events: bytes) -> bytes:
    """Return the same as pairs of the metadata behind an answer, names in lower case.

    Source: `set_trailing_metadata` of MLServer 1.7.1; a model's own attributes do not stay.
    """
    return grpc_pairs_of(headers, events=events) if headers or events else b""


def with_headers(parameters_json: str, headers: bytes, events: bytes) -> str:
    """Return the parameters of a streamed answer with both, as far as texts, in `headers`."""
    parameters: dict[str, Any] = orjson.loads(parameters_json or "{}")
    own = {name: text for name, text in from_pairs(headers).items() if not is_marked(text)}
    parameters["headers"] = own | from_pairs(events, encoding="utf-8")
    return orjson.dumps(parameters).decode()


def _pairs(kind: str, source: str, server_name: str, namespace: str) -> bytes:
    attributes = {
        "Ce-Specversion": "0.3",
        "Ce-Source": source,
        "Ce-Type": kind,
        "Ce-Inferenceservicename": server_name,
        "Ce-Namespace": namespace,
    }
    return to_pairs((name.encode(), value.encode()) for name, value in attributes.items() if value)
