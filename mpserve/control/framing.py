"""One message on a stream: four bytes of length, little-endian, then MessagePack.

Sans-I/O: bytes in, messages out. A stream and not packets, because a load call may carry files that
no packet socket takes.
"""

from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from mpserve.control.message import Message
from mpserve.errors import InternalError

MAX_FRAME_BYTES: Final = 1 << 30  # a load call carries whole model files
_LENGTH_BYTES: Final = 4
_ENCODER: Final = msgspec.msgpack.Encoder()

M = TypeVar("M")
MessageTypes: TypeAlias = Any  # a Struct or a union of them, which has no type of its own


def encode_frame(message: Message) -> bytes:
    """Return `message` as it goes on the wire."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


class FrameDecoder(Generic[M]):
    """Collects the bytes of one stream and cuts them into messages.

    Parameters
    ----------
    union
        Type, or union of types, that may arrive. Anything else is a defect of the other side.
    """

    def __init__(self, union: MessageTypes) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(union)
        self._bytes = bytearray()

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[M]:
        """Take the next bytes of the stream; return the messages that they complete.

        Raises
        ------
        InternalError
            The stream is not what the other side should send. It can not be read any further.
        """
        self._bytes += chunk
        messages: list[M] = []
        start = 0
        while (body := self._next_body(start)) is not None:
            messages.append(self._decode(body))
            start += _LENGTH_BYTES + len(body)
        if start:
            del self._bytes[:start]
        return messages

    def _next_body(self, start: int) -> bytes | None:
        body_start = start + _LENGTH_BYTES
        if len(self._bytes) < body_start:
            return None
        length = int.from_bytes(self._bytes[start:body_start], "little")
        if length > MAX_FRAME_BYTES:
            raise InternalError(
                f"control message of {length} bytes announced; at most {MAX_FRAME_BYTES} are sent"
            )
        if len(self._bytes) < body_start + length:
            return None
        return bytes(self._bytes[body_start : body_start + length])

    def _decode(self, body: bytes) -> M:
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError as error:
            raise InternalError(f"control message can not be read: {error}") from error
