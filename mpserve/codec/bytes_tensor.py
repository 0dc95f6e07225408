"""`BYTES` tensors in the wire's binary form.

For each element, row-major, a little-endian uint32 length and then the bytes, without padding.
"""

import struct
from collections.abc import Iterable
from typing import Final

from mpserve.errors import InternalError
from mpserve.model.request import Bytes

LENGTH: Final = struct.Struct("<I")
MAX_ELEMENT_BYTES: Final = (1 << 32) - 1


def pack(elements: Iterable[bytes]) -> bytes:
    """Return the binary form of the elements."""
    pieces: list[bytes] = []
    for element in elements:
        pieces.append(LENGTH.pack(len(element)))
        pieces.append(element)
    return b"".join(pieces)


def unpack(packed: Bytes) -> list[bytes]:
    """Return the elements of a tensor that came from a model.

    Raises
    ------
    InternalError
        The bytes are not in the binary form; what a client sends is checked elsewhere.
    """
    view = memoryview(packed)
    elements: list[bytes] = []
    at = 0
    while at < len(view):
        if at + LENGTH.size > len(view):
            raise InternalError(f"a BYTES tensor of {len(view)} bytes ends within a length")
        (length,) = LENGTH.unpack_from(view, at)
        at += LENGTH.size
        if at + length > len(view):
            raise InternalError(f"a BYTES tensor of {len(view)} bytes ends within an element")
        elements.append(bytes(view[at : at + length]))
        at += length
    return elements
