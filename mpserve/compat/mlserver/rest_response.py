# ruff: noqa: ANN401  # values are the users'
"""A response of a custom handler: the name of `mlserver.rest.responses`.

The peer's is Starlette's `JSONResponse`; here it needs no Starlette, and has what handlers use.
"""

from collections.abc import Mapping
from typing import Any

from mpserve.compat.mlserver.codecs.json import encode_to_json_bytes


class Response:
    """JSON with a status and headers; texts in `bytes` become text."""

    media_type = "application/json"
    charset = "utf-8"

    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Any = None,
    ) -> None:
        if background is not None:
            raise NotImplementedError("a background task of a response is not run by mpserve")
        self.status_code = status_code
        self.media_type = media_type or self.media_type
        self.headers = {"content-type": self.media_type}
        self.headers |= {name.lower(): value for name, value in (headers or {}).items()}
        self.body = self.render(content)

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers as the wire has them."""
        return [(k.encode("latin-1"), v.encode("latin-1")) for k, v in self.headers.items()]

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return encode_to_json_bytes(content)
