"""Control sockets between the processes: small tagged messages, never tensor bytes."""

from mpserve.control.channel import BlockingChannel, Channel
from mpserve.control.framing import FrameDecoder, encode_frame

__all__ = ["BlockingChannel", "Channel", "FrameDecoder", "encode_frame"]
