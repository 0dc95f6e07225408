"""Answers that are no inferences in the coding that their client prefers."""

from mpserve.codec.content_encoding import ContentEncoding, accepted_encoding, deflate
from mpserve.frontend.http.responses import Exchange, HttpResponse

_VARY = (b"Vary", b"Accept-Encoding")


def compressed(response: HttpResponse, exchange: Exchange, *, from_bytes: int) -> HttpResponse:
    """Return an answer as it goes on the wire; one of fewer bytes as it is."""
    if sum(map(len, response.body)) < from_bytes:
        return response
    asked = next((text for name, text in exchange.headers if name == b"accept-encoding"), b"")
    encoding = accepted_encoding(asked.decode("latin-1"))
    headers = (*response.headers, _VARY)
    if encoding is not ContentEncoding.IDENTITY:
        headers = (*headers, (b"Content-Encoding", encoding.value.encode()))
    return HttpResponse(
        status=response.status,
        content_type=response.content_type,
        body=tuple(deflate(list(response.body), encoding)),
        headers=headers,
    )
