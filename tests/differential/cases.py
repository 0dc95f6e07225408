"""What both servers are asked: one request or stream each, with a name of its own."""

from typing import Any, NamedTuple


class HttpCase(NamedTuple):
    """One HTTP request."""

    name: str
    method: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


class StreamCase(NamedTuple):
    """One stream of inferences; `requests` are the fields of each."""

    name: str
    requests: tuple[dict[str, Any], ...]


class GrpcCase(NamedTuple):
    """One unary call; `fields` are those of its request."""

    name: str
    method: str
    fields: dict[str, Any]
