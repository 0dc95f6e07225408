"""Binary metadata of gRPC among headers, whose values are text: marked, and as base64.

Source: gRPC over HTTP/2, "Custom-Metadata": names that end with `-bin`. The mark is
`kBinaryValue` of `native/include/mpserve/header_pairs.hpp`; no text of a header has it.
"""

import base64
import binascii
from typing import Final

NAME_END: Final = "-bin"
_MARK: Final = "\x01"


def is_binary_name(name: str) -> bool:
    """Say whether metadata of this name is bytes."""
    return name.lower().endswith(NAME_END)


def marked(value: bytes) -> str:
    """Return bytes as the text that travels."""
    return _MARK + base64.b64encode(value).decode()


def is_marked(text: str) -> bool:
    """Say whether a text stands for bytes."""
    return text.startswith(_MARK)


def unmarked(text: str) -> str | bytes:
    """Return what a client sent: bytes where the text is marked, else the text.

    Of several values in one the last counts, as of repeated names.
    """
    if not is_marked(text):
        return text
    return from_base64(text[1:].rpartition(",")[2])


def from_base64(text: str) -> bytes:
    """Return the bytes, which clients may send without padding; none of what is no base64."""
    bare = text.strip().rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return b""
