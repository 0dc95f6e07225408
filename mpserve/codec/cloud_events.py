"""CloudEvents attributes as MLServer puts them into the headers of an answer, among the headers in
the parameters of a streamed one, and into the metadata behind one over gRPC.

Source: MLServer 1.7.1 as seen running; CloudEvents 0.3, HTTP binding.
"""

from typing import Any

import msgspec
import orjson

from mpserve.codec.header_pairs import from_pairs, to_pairs

_MAX_FIELD_BYTES = 1024
_REQUEST = "io.seldon.serving.inference.request"
_RESPONSE = "io.seldon.serving.inference.response"


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers.

    Attributes
    ----------
    namespace
        Of Kubernetes, "" outside of it.
    """

    server_name: str
    namespace: str = ""


def with_event_headers(
    parameters_json: str,
    headers: bytes,
    *,
    source: EventSource,
    model_name: str,
    answer_id: str | None,
) -> str:
    """Return the parameters of an answer with the attributes in their member `headers`.

    Headers of the model's own (`codec.header_pairs`) stay, unless they have the same name.
    """
    parameters: dict[str, Any] = orjson.loads(parameters_json or "{}")
    events = _headers(source, model_name=model_name, answer_id=answer_id)
    parameters["headers"] = {**from_pairs(headers), **events}
    return orjson.dumps(parameters).decode()


def event_headers(
    source: EventSource, *, model_name: str, answer_id: str | None
) -> list[tuple[bytes, bytes]]:
    """Return the attributes as headers of an answer; what a header can not carry is left out."""
    headers = _headers(source, model_name=model_name, answer_id=answer_id)
    return [
        (name.encode(), value.encode())
        for name, value in headers.items()
        if 0 < len(value) <= _MAX_FIELD_BYTES and all(" " < one < "\x7f" for one in value)
    ]


def request_events(source: EventSource) -> bytes:
    """Return the attributes that all requests have, as their models see them beside the headers.

    What is a model's or a request's own, the worker adds.
    """
    headers = {**_headers(source, model_name="", answer_id=None), "Ce-Type": _REQUEST}
    return to_pairs((name.encode(), value.encode()) for name, value in headers.items() if value)


def answer_events(source: EventSource) -> bytes:
    """Return the attributes that all answers have, as metadata of gRPC: names in lower case."""
    headers = _headers(source, model_name="", answer_id=None)
    return to_pairs(
        (name.lower().encode(), value.encode()) for name, value in headers.items() if value
    )


def with_events(
    headers: bytes, *, source: EventSource, model_name: str, answer_id: str | None
) -> bytes:
    """Return the metadata of an answer over gRPC: the model's headers and the attributes.

    Source: `set_trailing_metadata` of MLServer 1.7.1; a model's own attributes do not stay.
    """
    events = _headers(source, model_name=model_name, answer_id=answer_id)
    lowered = {name.lower(): value for name, value in events.items() if value}
    own = {
        name: value for name, value in from_pairs(headers).items() if name.lower() not in lowered
    }
    return to_pairs((name.encode(), value.encode()) for name, value in (own | lowered).items())


def constant_fields(source: EventSource) -> str:
    """Return the attributes that all answers have, as text for the head of the native core."""
    headers = _headers(source, model_name="", answer_id=None)
    return "".join(f"\r\n{name}: {value}" for name, value in headers.items() if value)


def _headers(source: EventSource, *, model_name: str, answer_id: str | None) -> dict[str, str]:
    place = f"io.seldon.serving.deployment.{source.server_name}"
    headers = {
        "Ce-Specversion": "0.3",
        "Ce-Source": f"{place}.{source.namespace}" if source.namespace else place,
        "Ce-Type": _RESPONSE,
        "Ce-Modelid": model_name,
        "Ce-Inferenceservicename": source.server_name,
        "Ce-Endpoint": model_name,
    }
    if answer_id:
        headers |= {"Ce-Id": answer_id, "Ce-Requestid": answer_id}
    if source.namespace:
        headers["Ce-Namespace"] = source.namespace
    return headers
