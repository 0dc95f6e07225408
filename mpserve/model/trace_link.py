"""How a request says which trace it belongs to, on its way from a frontend to one or more models.

It travels as text with the request: a line of JSON that only the server reads, and a second line
with the context of OpenTelemetry, which the model may read (`InferenceTrace.get_context`).
"""

from typing import Final

import msgspec

_SEPARATOR: Final = "\n"


class TraceLink(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where the trace of a request is written, and what it belongs to.

    Attributes
    ----------
    id
        Of its own; 0: one is to be taken.
    parent_id
        Of the request that it was made for; 0 for none.
    timestamps, tensors
        What is recorded.
    file
        Absolute path; "": the trace goes out as spans.
    context
        W3C's headers as a JSON object; "" for none.
    """

    id: int
    parent_id: int
    timestamps: bool
    tensors: bool
    file: str
    context: str = ""


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(TraceLink)


def encode_link(link: TraceLink) -> str:
    """Return a link as it travels."""
    own = msgspec.structs.replace(link, context="")
    return _ENCODER.encode(own).decode() + _SEPARATOR + link.context


def decode_link(text: str) -> TraceLink:
    """Return the link that `encode_link` encoded."""
    own, _, context = text.partition(_SEPARATOR)
    return msgspec.structs.replace(_DECODER.decode(own), context=context)
