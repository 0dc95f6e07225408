"""What the core's codecs have read, in the words of Python's."""

from mpserve import _native
from mpserve.model.request import SequenceMark


def sequence_of(request: _native.DecodedRequest) -> SequenceMark:
    """Return what a request says of its sequence."""
    return SequenceMark(
        number=request.sequence_id,
        text=request.sequence_text,
        starts=bool(request.sequence_flags & _native.SEQUENCE_START),
        ends=bool(request.sequence_flags & _native.SEQUENCE_END),
    )
