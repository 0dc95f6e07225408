"""Compressed messages: gzip and deflate (zlib form), in both directions.

Source: "gRPC over HTTP2", Message-Encoding. Which encoding a level means is as in gRPC's C core,
on which Triton is built.
"""

from collections.abc import Mapping
from typing import Final

from mpserve.codec import content_encoding
from mpserve.codec.content_encoding import BodyTooLarge, ContentEncoding
from mpserve.dialect import GrpcCode
from mpserve.errors import InvalidRequest
from mpserve.frontend.grpc.call import GrpcFailure
from mpserve.settings import GrpcCompression
from mpserve.settings.grpc_settings import INFLATED_BYTES, MAX_MESSAGE_BYTES

NUMBERS: Final = (ContentEncoding.IDENTITY, ContentEncoding.GZIP, ContentEncoding.DEFLATE)
"""By the numbers that the native core has for them."""
_GZIP: Final = NUMBERS.index(ContentEncoding.GZIP)
_DEFLATE: Final = NUMBERS.index(ContentEncoding.DEFLATE)

WANTED: Final[Mapping[GrpcCompression, list[int]]] = {
    GrpcCompression.NONE: [],
    GrpcCompression.LOW: [_GZIP, _DEFLATE],
    GrpcCompression.MEDIUM: [_DEFLATE, _GZIP],
    GrpcCompression.HIGH: [_DEFLATE, _GZIP],
}
"""What answers are compressed with, for clients that take it; the first one counts."""


class MessageInflater:
    """Reads compressed messages, up to a limit.

    Parameters
    ----------
    max_message_bytes
        Of a message that is not compressed; the limit, too, where the operator has set it.
    """

    def __init__(self, max_message_bytes: int) -> None:
        is_set = max_message_bytes < MAX_MESSAGE_BYTES
        self._max_bytes = max_message_bytes if is_set else INFLATED_BYTES

    def inflate(self, message: bytes, number: int) -> bytes | GrpcFailure:
        """Return the message, or how the call is refused."""
        try:
            return bytes(
                content_encoding.inflate(message, NUMBERS[number], max_bytes=self._max_bytes)
            )
        except BodyTooLarge:
            return GrpcFailure(
                code=GrpcCode.RESOURCE_EXHAUSTED,
                message=f"Received message larger than max ({self._max_bytes}) once decompressed;"
                " --grpc-max-message-bytes sets another limit",
            )
        except InvalidRequest as error:
            return GrpcFailure(code=GrpcCode.INTERNAL, message=error.message)


def deflate(message: bytes, number: int) -> bytes:
    """Return the message in an encoding."""
    return b"".join(content_encoding.deflate([message], NUMBERS[number]))
