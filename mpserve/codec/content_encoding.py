"""Compressed bodies: gzip and deflate (zlib form), in both directions.

Guarantees: inflating stops at the limit, so a small body can not become a large one; time and
memory are those of the limit. Source: RFC 9110 sections 8.4 and 12.5.3; Triton's server.
"""

import enum
import re
import zlib
from typing import Final, Protocol

from mpserve.errors import InvalidRequest
from mpserve.model.request import Bytes

LEVEL: Final = 1  # the loop waits for it: speed before size

_PIECE_BYTES: Final = 1 << 16
_GZIP_WINDOW: Final = 31  # zlib's number for a gzip frame
_ZLIB_WINDOW: Final = 15
_WEIGHT: Final = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


class ContentEncoding(enum.Enum):
    """Codings that can be read and written."""

    IDENTITY = "identity"
    GZIP = "gzip"
    DEFLATE = "deflate"


# Files of blocks (bgzip) have one for each 64 KiB; empty ones cost their making and nothing else.
_MAX_MEMBERS: Final = 1 << 14
_WINDOWS: Final = {ContentEncoding.GZIP: _GZIP_WINDOW, ContentEncoding.DEFLATE: _ZLIB_WINDOW}


class BodyTooLarge(InvalidRequest):
    """A body is larger than the server takes."""


class UnknownEncoding(InvalidRequest):
    """A body is compressed in a way the server can not read."""


def content_encoding(header: str | None) -> ContentEncoding:
    """Return the coding that a `Content-Encoding` header names.

    Raises
    ------
    UnknownEncoding
        It can not be read here.
    """
    word = (header or "").strip().lower()
    try:
        return ContentEncoding(word or "identity")
    except ValueError:
        raise UnknownEncoding(
            f"Unsupported compression type '{word}', send gzip, deflate or identity"
        ) from None


def inflate(body: Bytes, encoding: ContentEncoding, *, max_bytes: int) -> Bytes:
    """Return the body without its coding.

    Raises
    ------
    BodyTooLarge
        More than `max_bytes` come out.
    InvalidRequest
        The body is not of that coding, or ends early.
    """
    if encoding is ContentEncoding.IDENTITY:
        return body
    reading = _Inflation(encoding, max_bytes)
    for at in range(0, len(body), _PIECE_BYTES):
        reading.take(body[at : at + _PIECE_BYTES])
    return reading.whole()


class _Stream(Protocol):
    """What `zlib.decompressobj` makes, which has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: Bytes, max_length: int, /) -> bytes: ...


class _Inflation:
    """A body that is inflated piece by piece: what follows a member is copied by piece only."""

    def __init__(self, encoding: ContentEncoding, max_bytes: int) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._room = max_bytes
        self._pieces: list[bytes] = []
        self._members = 0
        self._stream: _Stream | None = None
        self._is_done = False  # what follows is not read

    def take(self, piece: Bytes) -> None:
        """Inflate the next piece of the body."""
        rest: Bytes = piece
        while len(rest) and not self._is_done:  # a gzip body may be several members
            stream = self._stream or self._next_member()
            try:
                self._keep(stream.decompress(rest, self._room + 1))
            except zlib.error as error:
                raise InvalidRequest(
                    f"the request body is no {self._encoding.value} data: {error}"
                ) from error
            self._stream = None if stream.eof else stream
            self._is_done = stream.eof and self._encoding is ContentEncoding.DEFLATE
            rest = stream.unused_data

    def whole(self) -> bytes:
        """Return what came out, after the last piece."""
        if self._stream is not None:
            raise InvalidRequest(f"the request body ends within its {self._encoding.value} data")
        return b"".join(self._pieces)

    def _next_member(self) -> _Stream:
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise InvalidRequest(
                f"the request body has more than {_MAX_MEMBERS} members of gzip data"
            )
        return zlib.decompressobj(_WINDOWS[self._encoding])

    def _keep(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room < 0:
            raise BodyTooLarge(
                f"the decompressed request exceeds the maximum allowed input size of "
                f"{self._max_bytes} bytes. Use --http-max-input-size to increase the limit."
            )
        if piece:
            self._pieces.append(piece)


def accepted_encoding(header: str | None) -> ContentEncoding:
    """Return the coding that an `Accept-Encoding` header prefers; of equal weights the first."""
    best, best_weight = ContentEncoding.IDENTITY, 0.0
    for item in (header or "").split(","):
        word, _, parameters = item.partition(";")
        try:
            encoding = ContentEncoding(word.strip().lower())
        except ValueError:
            continue
        weight = _weight(parameters)
        if weight > best_weight:
            best, best_weight = encoding, weight
    return best


def deflate(pieces: list[Bytes], encoding: ContentEncoding) -> list[Bytes]:
    """Return the pieces of a body in a coding."""
    if encoding is ContentEncoding.IDENTITY:
        return pieces
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOWS[encoding])
    return [b"".join([*(stream.compress(piece) for piece in pieces), stream.flush()])]


def _weight(parameters: str) -> float:
    if not parameters.strip():
        return 1.0
    weight = _WEIGHT.fullmatch(parameters)
    return float(weight.group(1)) if weight else 0.0
