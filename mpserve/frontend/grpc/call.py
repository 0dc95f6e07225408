"""What a transport and the services say to each other. No transport's types appear here.

A unary method gets the request's bytes and a `Call` that it answers once, now or later. A stream
method gets a `StreamOutput` and returns a `StreamInput`, which is told what the client sends.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec

from mpserve.codec.proto_infer import ProtoInfer
from mpserve.dialect import Dialect, GrpcCode, Operation
from mpserve.errors import Failure
from mpserve.settings import Restriction
from mpserve.telemetry.traffic import TrafficKind

Metadata = Mapping[str, str]
"""Metadata of a call by lower-case name; of repeated ones the last."""


class GrpcFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A status that is not OK."""

    code: GrpcCode
    message: str


class GrpcAnswer(msgspec.Struct, frozen=True):
    """An encoded message, and what is to stand in the metadata behind it.

    Attributes
    ----------
    headers
        Pairs (`codec.header_pairs`) that may stand there, names in lower case: nobody looks at them
        again.
    """

    message: bytes
    headers: bytes


SHUTTING_DOWN: Final = GrpcFailure(
    code=GrpcCode.UNAVAILABLE,
    message="GRPC server is shutting down and has stopped accepting new requests.",
)


def grpc_failure(failure: Failure, *, dialect: Dialect, operation: Operation) -> GrpcFailure:
    """Return how the dialect answers a failure of an operation."""
    row = dialect.status(failure.code, operation=operation)
    return GrpcFailure(code=row.grpc, message=failure.message)


class Call(Protocol):
    """One unary call that waits for its answer."""

    def finish(self, result: bytes | GrpcFailure) -> None:
        """Answer with an encoded message, or with a status."""

    def set_trailers(self, headers: bytes) -> None:
        """Send this metadata behind the answer (`GrpcAnswer.headers`); a failure has none."""

    def metadata(self) -> Metadata:
        """Return the metadata that the client sent."""
        ...

    @property
    def received_ns(self) -> int:
        """When it began, on the monotonic clock."""
        ...

    @property
    def deadline_ns(self) -> int:
        """Until when its client waits, on the monotonic clock; 0: for ever."""
        ...

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client cancels, or its deadline passes, before the answer."""


class StreamOutput(Protocol):
    """The server's half of a stream."""

    @property
    def deadline_ns(self) -> int:
        """Until when its client waits, on the monotonic clock; 0: for ever."""
        ...

    @property
    def writable(self) -> bool:
        """What is sent now leaves before long: the client reads."""
        ...

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when it has become writable."""

    def send(self, message: bytes) -> None:
        """Send one encoded message."""

    def read_on(self) -> None:
        """Ask `StreamInput.has_room` again: there may be room without anything's being sent."""

    def set_trailers(self, headers: bytes) -> None:
        """As of `Call`, behind the last message of a stream that ends with OK."""

    def end(self, failure: GrpcFailure | None) -> None:
        """End the stream, with OK for `None`. Nothing can be sent after that."""


class StreamInput(Protocol):
    """The client's half of a stream, as a service hears it."""

    def on_message(self, message: bytes) -> None:
        """The client sent a message."""

    def on_half_close(self) -> None:
        """The client sends no more."""

    def on_client_gone(self) -> None:
        """The client cancelled, or its deadline passed: nobody listens any more."""

    def on_drain(self) -> None:
        """The server ends: take nothing new, and end when what was asked is answered."""

    def has_room(self) -> bool:
        """Tell whether one more message may be read now; `StreamOutput.send` may change that."""
        ...


Refusal = Callable[[str, Metadata], GrpcFailure | None]
"""Path and metadata of a call -> why it may not go on."""
UnaryMethod = Callable[[bytes, Call], None]
StreamMethod = Callable[[StreamOutput, Metadata], StreamInput]


def _is_never_restricted(restrictions: Iterable[Restriction]) -> None:
    """There is nothing to ask for."""


def _is_never_guarded(path: str) -> bool:  # noqa: ARG001
    return False


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is served, by path (`/package.Service/Method`).

    Attributes
    ----------
    refusal
        Asked about calls; `None` when there is nothing to ask.
    is_guarded
        Tells whether `refusal` has anything against calls of a path.
    restrict_by
        Lets `refusal` ask for other keys and values; what is guarded stays the same.
    native_infer, infer_path
        What answers the common calls of a path without Python; `None` when each needs it.
    fixed_paths
        Methods whose answer to an empty message changes only with the server's health.
    asked_once
        Streams to which a client sends one message.
    """

    unary: Mapping[str, UnaryMethod]
    streams: Mapping[str, StreamMethod]
    refusal: Refusal | None = None
    is_guarded: Callable[[str], bool] = _is_never_guarded
    restrict_by: Callable[[Iterable[Restriction]], None] = _is_never_restricted
    native_infer: ProtoInfer | None = None
    infer_path: str = ""
    fixed_paths: tuple[str, ...] = ()
    asked_once: frozenset[str] = frozenset()

    def kind(self, path: str) -> TrafficKind:
        """Return how calls of a method are counted."""
        if path in self.unary:
            return TrafficKind.UNARY
        is_asked_once = path in self.asked_once
        return TrafficKind.SERVER_STREAMING if is_asked_once else TrafficKind.BIDI_STREAMING
