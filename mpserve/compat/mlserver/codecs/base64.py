# ruff: noqa: ANN401, FBT001, FBT002  # values are the users', signatures the peer's
"""Raw bytes: `List[bytes]` as BYTES in base64; content type `base64`."""

import base64
import binascii
from typing import Any

from mpserve.compat.mlserver.codecs.codec import InputCodec
from mpserve.compat.mlserver.codecs.lists import flat_list, is_list_of
from mpserve.compat.mlserver.codecs.registry import register_input_codec
from mpserve.compat.mlserver.codecs.string import encode_str
from mpserve.compat.mlserver.types import Parameters, RequestInput, ResponseOutput


def _decoded(element: str | bytes) -> bytes:
    """Return the bytes; what is not base64 was sent raw and stays as it is."""
    try:
        return base64.b64decode(element, validate=True)
    except (binascii.Error, ValueError):
        return encode_str(element) if isinstance(element, str) else element


def _encoded(element: str | bytes) -> bytes:
    return base64.b64encode(encode_str(element) if isinstance(element, str) else element)


@register_input_codec
class Base64Codec(InputCodec):
    """Between `List[bytes]` and a BYTES tensor of shape `[n, 1]`."""

    ContentType = "base64"
    TypeHint = list[bytes]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is a list of `bytes`."""
        return is_list_of(payload, bytes)

    @classmethod
    def encode_output(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> ResponseOutput:
        """Return an output in base64; with `use_bytes=False` its elements are `str`."""
        del kwargs
        encoded = [_encoded(element) for element in payload]
        elements = encoded if use_bytes else [element.decode() for element in encoded]
        return ResponseOutput(
            name=name,
            datatype="BYTES",
            shape=[len(elements), 1],
            data=elements,
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[bytes]:
        """Return the bytes of an output."""
        return [_decoded(element) for element in flat_list(response_output.data)]

    @classmethod
    def encode_input(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> RequestInput:
        """Return an input in base64; with `use_bytes=False` its elements are `str`."""
        output = cls.encode_output(name, payload, use_bytes, **kwargs)
        return RequestInput.model_construct(**dict(output))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[bytes]:
        """Return the bytes of an input."""
        return [_decoded(element) for element in flat_list(request_input.data)]
