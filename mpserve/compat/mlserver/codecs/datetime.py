# ruff: noqa: ANN401  # values are the users'
"""Points in time: `List[datetime]` as BYTES in ISO 8601; content type `datetime`."""

import datetime
from typing import Any

from mpserve.compat.mlserver.codecs.list_codec import ListCodec
from mpserve.compat.mlserver.codecs.registry import register_input_codec
from mpserve.compat.mlserver.codecs.string import decode_str


@register_input_codec
class DatetimeCodec(ListCodec):
    """Between a list of `datetime` and a BYTES tensor of shape `[n, 1]`."""

    ContentType = "datetime"
    TypeHint = list[str | datetime.datetime]
    ElementType = datetime.datetime

    @classmethod
    def encode_element(cls, element: Any) -> bytes:
        """Return the point in time, or its text, in ISO 8601."""
        text: str = element if isinstance(element, str) else element.isoformat()
        return text.encode()

    @classmethod
    def decode_element(cls, element: Any) -> datetime.datetime:
        """Return the point in time."""
        return datetime.datetime.fromisoformat(decode_str(element))
