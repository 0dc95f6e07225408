"""Headers in the parameters of requests and responses, as MLServer has them.

A request's are those of HTTP (names in lower case) or the metadata of gRPC, and the CloudEvents
attributes of the request. A response's go back the same way.

Source: MLServer 1.7.1 (`mlserver.utils.insert_headers`, `extract_headers`).
"""

from typing import Any, Final

from mpserve.model.binary_metadata import is_binary_name, marked, unmarked

_HEADERS: Final = "headers"


def request_headers(pairs: bytes, *, model_name: str, request_id: str) -> dict[str, Any]:
    """Return the headers that came with a request (`protocol.Request.headers`) by name.

    Binary metadata of gRPC are `bytes`, as with MLServer, whose types say `str`.
    """
    texts = pairs.decode("latin-1").split("\0")
    values = map(unmarked, texts[1::2])
    headers: dict[str, Any] = dict(zip(texts[::2], values, strict=False))
    headers["Ce-Modelid"] = headers["Ce-Endpoint"] = model_name
    if request_id:
        headers["Ce-Id"] = headers["Ce-Requestid"] = request_id
    return headers


def take_response_headers(parameters: dict[str, Any]) -> bytes:
    """Take the headers out of the parameters of a response; return them for `Answer.headers`."""
    headers = parameters.pop(_HEADERS, None)
    if not isinstance(headers, dict):
        return b""
    texts = ((str(name), _text(str(name), value)) for name, value in headers.items())
    return b"".join(
        f"{name}\0{value}\0".encode("latin-1", "replace")
        for name, value in texts
        if "\0" not in name + value
    )


def _text(name: str, value: object) -> str:
    """Return a value as it travels; bytes are metadata of gRPC where their name says so."""
    return marked(value) if isinstance(value, bytes) and is_binary_name(name) else str(value)
