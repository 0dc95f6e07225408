# ruff: noqa: ANN401, FBT001, FBT002  # values are the users', signatures the peer's
"""Points in time: `List[datetime]` as BYTES in ISO 8601; content type `datetime`."""

import datetime
from typing import Any

from mpserve.compat.mlserver.codecs.codec import InputCodec
from mpserve.compat.mlserver.codecs.lists import flat_list, is_list_of
from mpserve.compat.mlserver.codecs.registry import register_input_codec
from mpserve.compat.mlserver.codecs.string import decode_str
from mpserve.compat.mlserver.types import Parameters, RequestInput, ResponseOutput


@register_input_codec
class DatetimeCodec(InputCodec):
    """Between a list of `datetime` and a BYTES tensor of shape `[n, 1]`."""

    ContentType = "datetime"
    TypeHint = list[str | datetime.datetime]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is a list of `datetime`."""
        return is_list_of(payload, datetime.datetime)

    @classmethod
    def encode_output(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> ResponseOutput:
        """Return an output in ISO 8601; with `use_bytes=False` its elements are `str`."""
        del kwargs
        texts = [item if isinstance(item, str) else item.isoformat() for item in payload]
        return ResponseOutput(
            name=name,
            datatype="BYTES",
            shape=[len(texts), 1],
            data=[text.encode() for text in texts] if use_bytes else texts,
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[datetime.datetime]:
        """Return the points in time of an output."""
        return _decoded(response_output)

    @classmethod
    def encode_input(
        cls,
        name: str,
        payload: Any,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> RequestInput:
        """Return an input in ISO 8601; with `use_bytes=False` its elements are `str`."""
        output = cls.encode_output(name, payload, use_bytes, **kwargs)
        return RequestInput.model_construct(**dict(output))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[datetime.datetime]:
        """Return the points in time of an input."""
        return _decoded(request_input)


def _decoded(tensor: RequestInput | ResponseOutput) -> list[datetime.datetime]:
    return [
        datetime.datetime.fromisoformat(decode_str(element)) for element in flat_list(tensor.data)
    ]
