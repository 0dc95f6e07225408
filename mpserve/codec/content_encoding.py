"""Compressed bodies: gzip and deflate (zlib form), in both directions.

Guarantees: inflating stops at the limit, so a small body can not become a large one; time and
memory are those of the limit. Source: RFC 9110 sections 8.4 and 12.5.3; Triton's server.
"""

import enum
import re
import zlib
from typing import Final

from mpserve.errors import InvalidRequest
from mpserve.model.request import Bytes

LEVEL: Final = 1  # the loop waits for it: speed before size

_GZIP_WINDOW: Final = 31  # zlib's number for a gzip frame
_ZLIB_WINDOW: Final = 15
_WEIGHT: Final = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


class ContentEncoding(enum.Enum):
    """Codings that can be read and written."""

    IDENTITY = "identity"
    GZIP = "gzip"
    DEFLATE = "deflate"


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
    pieces: list[bytes] = []
    room = max_bytes
    rest: Bytes = body
    while rest:  # a gzip body may be several members, one after another
        stream = zlib.decompressobj(_WINDOWS[encoding])
        try:
            piece = stream.decompress(rest, room + 1)
        except zlib.error as error:
            raise InvalidRequest(
                f"the request body is no {encoding.value} data: {error}"
            ) from error
        room -= len(piece)
        if room < 0:
            raise BodyTooLarge(
                f"the decompressed request exceeds the maximum allowed input size of {max_bytes} "
                f"bytes. Use --http-max-input-size to increase the limit."
            )
        if not stream.eof:
            raise InvalidRequest(f"the request body ends within its {encoding.value} data")
        pieces.append(piece)
        rest = stream.unused_data if encoding is ContentEncoding.GZIP else b""
    return b"".join(pieces)


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
