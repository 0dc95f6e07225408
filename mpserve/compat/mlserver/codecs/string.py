# ruff: noqa: ANN401  # values are the users'
"""Text: `List[str]` as BYTES in UTF-8; content type `str`."""

from typing import Any

from mpserve.compat.mlserver.codecs.codec import SingleInputRequestCodec
from mpserve.compat.mlserver.codecs.list_codec import ListCodec
from mpserve.compat.mlserver.codecs.registry import register_input_codec, register_request_codec

_ENCODING = "utf-8"


def encode_str(elem: str) -> bytes:
    """Return text as the bytes of one element."""
    return elem.encode(_ENCODING)


def decode_str(encoded: Any, str_codec: str = _ENCODING) -> str:
    """Return one element as text; numbers, which the peer turns into "", keep their digits."""
    if isinstance(encoded, bytes):
        return encoded.decode(str_codec)
    return str(encoded)


@register_input_codec
class StringCodec(ListCodec):
    """Between `List[str]` and a BYTES tensor of shape `[n, 1]`."""

    ContentType = "str"
    TypeHint = list[str]
    ElementType = str

    @classmethod
    def encode_element(cls, element: Any) -> bytes:
        """Return the text in UTF-8."""
        return encode_str(element)

    @classmethod
    def decode_element(cls, element: Any) -> str:
        """Return the text."""
        return decode_str(element)


@register_request_codec
class StringRequestCodec(SingleInputRequestCodec):
    """Between `List[str]` and a request of one BYTES tensor."""

    InputCodec = StringCodec
    ContentType = StringCodec.ContentType
    TypeHint = StringCodec.TypeHint
