# ruff: noqa: ANN401  # values are the users'
"""Raw bytes: `List[bytes]` as BYTES in base64; content type `base64`."""

import base64
import binascii
from typing import Any

from mpserve.compat.mlserver.codecs.list_codec import ListCodec
from mpserve.compat.mlserver.codecs.registry import register_input_codec
from mpserve.compat.mlserver.codecs.string import encode_str


@register_input_codec
class Base64Codec(ListCodec):
    """Between `List[bytes]` and a BYTES tensor of shape `[n, 1]`."""

    ContentType = "base64"
    TypeHint = list[bytes]
    ElementType = bytes

    @classmethod
    def encode_element(cls, element: Any) -> bytes:
        """Return the bytes in base64."""
        return base64.b64encode(encode_str(element) if isinstance(element, str) else element)

    @classmethod
    def decode_element(cls, element: Any) -> bytes:
        """Return the bytes; what is not base64 was sent raw and stays as it is."""
        try:
            return base64.b64decode(element, validate=True)
        except (binascii.Error, ValueError):
            return encode_str(element) if isinstance(element, str) else bytes(element)
