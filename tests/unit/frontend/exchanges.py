"""Requests without a connection."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from mpserve.frontend.http.responses import Header
from mpserve.model.request import Bytes


class RecordedExchange:
    """A request, and the answer that it got."""

    def __init__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Sequence[Header] = (),
        *,
        too_large: bool = False,
    ) -> None:
        self.method = method
        self.target = path.encode()
        self.headers = [(name.lower(), value) for name, value in headers]
        self.headers_as_sent = list(headers)
        self.body = memoryview(body)
        self.body_too_large = too_large
        self.body_has_no_room = False
        self.content_length = len(body)
        self.received_ns = self.complete_ns = 0
        self.counted_route = ""
        self.added_headers: list[Header] = []
        self.status: int | None = None
        self.answer_headers: dict[bytes, bytes] = {}
        self.answer = b""
        self.gone: Callable[[], None] | None = None

    def respond(self, status: int, headers: Sequence[Header], body: Sequence[Bytes]) -> None:
        assert self.status is None, "answered twice"
        self.status = status
        self.answer_headers = dict([*headers, *self.added_headers])
        self.answer = b"".join(bytes(piece) for piece in body)

    def add_headers(self, headers: Sequence[Header]) -> None:
        self.added_headers += headers

    def count_at(self, route: str) -> None:
        self.counted_route = route

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        self.gone = callback

    def json(self) -> Any:
        return json.loads(self.answer)
