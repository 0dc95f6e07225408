"""Headers of a request or an answer as one text: name, NUL, value, NUL, for each.

So they travel with a request to a model that wants them, and with its answer back. What a model may
put into a head or into metadata, the core decides (`codec.cloud_events`).
"""

from collections.abc import Iterable


def to_pairs(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the text; whoever reads it lets the last of repeated ones count."""
    return b"".join(b"%s\0%s\0" % pair for pair in headers)


def from_pairs(pairs: bytes, *, encoding: str = "latin-1") -> dict[str, str]:
    """Return the headers by name; models' are in the encoding of HTTP's heads."""
    texts = pairs.decode(encoding, "replace").split("\0")
    return dict(zip(texts[::2], texts[1::2], strict=False))
