"""Headers of a request or an answer as one text: name, NUL, value, NUL, for each.

So they travel with a request to a model that wants them, and with its answer back. What a model may
put into a head or into metadata, the core decides.
"""

from collections.abc import Iterable

from mpserve._native import http_fields_of
from mpserve._native import metadata_of as _metadata_of

__all__ = ["from_pairs", "http_fields_of", "metadata_of", "to_pairs"]


def to_pairs(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the text; whoever reads it lets the last of repeated ones count."""
    return b"".join(b"%s\0%s\0" % pair for pair in headers)


def from_pairs(pairs: bytes) -> dict[str, str]:
    """Return the headers by name."""
    texts = pairs.decode("utf-8", "replace").split("\0")
    return dict(zip(texts[::2], texts[1::2], strict=False))


def metadata_of(headers: bytes) -> list[tuple[str, str]]:
    """Return those of a model's headers that may stand in the metadata of a gRPC call."""
    return [(name.lower(), value) for name, value in _metadata_of(headers)]
