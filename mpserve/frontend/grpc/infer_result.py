"""What comes of an inference over gRPC, and how much of it a call may have."""

import enum
from collections.abc import Callable

import msgspec

from mpserve.frontend.grpc.call import GrpcAnswer, GrpcFailure


class InferResult(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a model.

    Attributes
    ----------
    encode
        Returns the encoded `ModelInferResponse`, or why there is none; `None` for the mark that no
        more answers follow. Until it was called, or forgotten, the answer takes no memory but the
        worker's, which is how the model learns that its client is slow.
    headers
        What is to stand in the metadata behind the answers (`GrpcAnswer.headers`).
    wants_input
        It is no answer: the model wants the next request of its stream.
    """

    encode: Callable[[], bytes | GrpcFailure | None]
    is_final: bool
    headers: bytes = b""
    wants_input: bool = False


class CallKind(enum.Enum):
    """How many requests and answers a call may have."""

    ONE_ANSWER = enum.auto()
    MANY_ANSWERS = enum.auto()
    STREAM = enum.auto()


OnResult = Callable[[InferResult], None]
NativeResult = bytes | GrpcAnswer | GrpcFailure
