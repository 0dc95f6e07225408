"""Headers and body of one HTTP request, as the endpoints read them."""

from mpserve.codec.content_encoding import (
    BodyTooLarge,
    content_encoding,
    inflate,
)
from mpserve.errors import ArenaFull
from mpserve.frontend.http.responses import Exchange
from mpserve.model.request import Bytes


class HttpRequest:
    """A request that Python answers.

    Parameters
    ----------
    max_body_bytes
        Limit of the body, also of what it is after decompression.
    """

    def __init__(self, exchange: Exchange, *, max_body_bytes: int) -> None:
        self._exchange = exchange
        self._max_body_bytes = max_body_bytes
        self._headers = dict(reversed(exchange.headers))  # of repeated ones the first counts

    def header(self, name: bytes) -> str | None:
        """Return the value of the first header of this lower-case name."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def body(self) -> Bytes:
        """Return the body without its content coding.

        Raises
        ------
        BodyTooLarge
            It was not read, or grows past the limit.
        ArenaFull
            No shared memory is left for it.
        UnknownEncoding, InvalidRequest
            It is compressed in a way that is not known, or broken.
        """
        encoding = content_encoding(self.header(b"content-encoding"))
        if self._exchange.body_too_large:
            raise BodyTooLarge(
                f"request JSON size of {self._exchange.content_length} bytes exceeds the maximum "
                f"allowed input size of {self._max_body_bytes} bytes. Use --http-max-input-size to "
                f"increase the limit."
            )
        if self._exchange.body_has_no_room:
            raise ArenaFull(
                "Failed to increase the shared memory pool size for key 'arena' by "
                f"{self._exchange.content_length} bytes for the body; send it again later, enlarge "
                "the machine's shared memory (a container's --shm-size) or raise --arena-max-bytes"
            )
        return inflate(self._exchange.body, encoding, max_bytes=self._max_body_bytes)
