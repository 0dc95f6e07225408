# ruff: noqa: ANN401, FBT001, FBT002  # values are the users', signatures the peer's
"""Text: `List[str]` as BYTES in UTF-8; content type `str`."""

from typing import Any

from mpserve.compat.mlserver.codecs.codec import InputCodec, SingleInputRequestCodec
from mpserve.compat.mlserver.codecs.lists import flat_list, is_list_of
from mpserve.compat.mlserver.codecs.registry import register_input_codec, register_request_codec
from mpserve.compat.mlserver.types import Parameters, RequestInput, ResponseOutput

_ENCODING = "utf-8"


def encode_str(element: str) -> bytes:
    """Return text as the bytes of one element."""
    return element.encode(_ENCODING)


def decode_str(encoded: Any, str_codec: str = _ENCODING) -> str:
    """Return one element as text; numbers, which the peer turns into "", keep their digits."""
    if isinstance(encoded, bytes):
        return encoded.decode(str_codec)
    return str(encoded)


@register_input_codec
class StringCodec(InputCodec):
    """Between `List[str]` and a BYTES tensor of shape `[n, 1]`."""

    ContentType = "str"
    TypeHint = list[str]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is a list of `str`."""
        return is_list_of(payload, str)

    @classmethod
    def encode_output(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> ResponseOutput:
        """Return an output of the texts; with `use_bytes=False` its elements stay `str`."""
        del kwargs
        elements = [encode_str(text) for text in payload] if use_bytes else list(payload)
        return ResponseOutput(
            name=name,
            datatype="BYTES",
            shape=[len(elements), 1],
            data=elements,
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[str]:
        """Return the texts of an output."""
        return [decode_str(element) for element in flat_list(response_output.data)]

    @classmethod
    def encode_input(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> RequestInput:
        """Return an input of the texts; with `use_bytes=False` its elements stay `str`."""
        output = cls.encode_output(name, payload, use_bytes, **kwargs)
        return RequestInput.model_construct(**dict(output))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[str]:
        """Return the texts of an input."""
        return [decode_str(element) for element in flat_list(request_input.data)]


@register_request_codec
class StringRequestCodec(SingleInputRequestCodec):
    """Between `List[str]` and a request of one BYTES tensor."""

    InputCodec = StringCodec
    ContentType = StringCodec.ContentType
    TypeHint = StringCodec.TypeHint
