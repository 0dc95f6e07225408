"""The services over `grpc.aio`, as handlers of raw bytes: the portable transport.

Guarantees: each call is answered once; a client that cancels, or whose deadline passes, is told to
the service at once. Owner: a frontend. Importing this imports grpcio, an optional extra.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from mpserve.codec.header_pairs import from_pairs
from mpserve.dialect import GrpcCode
from mpserve.frontend.grpc.call import (
    GrpcFailure,
    Metadata,
    Services,
    StreamInput,
    StreamMethod,
    UnaryMethod,
)
from mpserve.model.binary_metadata import from_base64, is_binary_name, marked

STATUS_CODES: Final[Mapping[GrpcCode, grpc.StatusCode]] = {
    code: status for code in GrpcCode for status in grpc.StatusCode if status.value[0] == code
}

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs only
Context = Any  # grpc.aio's, generic in its stubs only
_Unary = Callable[[bytes, Context], Awaitable[bytes]]
_Stream = Callable[[object, Context], Awaitable[None]]


class AioHandlers(grpc.GenericRpcHandler):
    """Finds the handler of each call by its path."""

    def __init__(self, services: Services) -> None:
        self._refusal = services.refusal
        self._streams: set[StreamInput] = set()
        self._is_draining = False
        self._handlers: dict[str, Handler] = {
            **{
                path: grpc.unary_unary_rpc_method_handler(_unary(method))
                for path, method in services.unary.items()
            },
            **{
                path: grpc.stream_stream_rpc_method_handler(self._stream(method))
                for path, method in services.streams.items()
            },
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the handler of a call; `None` for a method that does not exist."""
        if self._refusal is not None:
            metadata = _texts(handler_call_details.invocation_metadata)
            failure = self._refusal(handler_call_details.method, metadata)
            if failure is not None:
                return _refusing(failure)
        return self._handlers.get(handler_call_details.method)

    def drain(self) -> None:
        """Let the streams end when what was asked is answered; the library takes no new calls."""
        self._is_draining = True
        for stream in list(self._streams):
            stream.on_drain()

    def _stream(self, method: StreamMethod) -> _Stream:
        async def serve(_: object, context: Context) -> None:
            output = AioStreamOutput(_deadline_ns(context))
            stream = method(output, _texts(context.invocation_metadata()))
            self._streams.add(stream)
            if self._is_draining:
                stream.on_drain()
            reader = asyncio.ensure_future(_read_stream(context, stream, output))
            try:
                await output.write_all(context)
            finally:
                self._streams.discard(stream)
                reader.cancel()
                if not output.has_ended:
                    stream.on_client_gone()
                await asyncio.gather(reader, return_exceptions=True)

        return serve


class AioCall:
    """One unary call that waits."""

    __slots__ = (
        *("_context", "_on_client_gone", "_trailers"),
        *("deadline_ns", "received_ns", "result"),
    )

    def __init__(self, result: asyncio.Future[bytes | GrpcFailure], context: Context) -> None:
        self.result = result
        self._context = context
        self._on_client_gone: Callable[[], None] | None = None
        self._trailers = b""
        self.received_ns = time.monotonic_ns()
        self.deadline_ns = _deadline_ns(context)

    def finish(self, result: bytes | GrpcFailure) -> None:
        """Answer, unless the client is gone."""
        if not self.result.done():
            if self._trailers and isinstance(result, bytes):
                self._context.set_trailing_metadata(_metadata(self._trailers))
            self.result.set_result(result)

    def set_trailers(self, headers: bytes) -> None:
        """Keep this until the answer."""
        self._trailers = headers

    def metadata(self) -> Metadata:
        """Return the metadata that the client sent."""
        return _texts(self._context.invocation_metadata())

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        """Remember whom to tell."""
        self._on_client_gone = callback

    def tell_client_gone(self) -> None:
        """Tell it."""
        if self._on_client_gone is not None:
            self._on_client_gone()


class AioStreamOutput:
    """The server's half of a stream: what waits to be written."""

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self._waiting: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._written = asyncio.Event()
        self._failure: GrpcFailure | None = None
        self._trailers = b""
        self._on_writable: Callable[[], None] | None = None
        self.has_ended = False

    @property
    def writable(self) -> bool:
        """Nothing waits: each write of the library waits for the client."""
        return not self._waiting

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Remember whom to tell."""
        self._on_writable = callback

    def read_on(self) -> None:
        """Let who reads look for room again."""
        self._written.set()

    def send(self, message: bytes) -> None:
        """Put a message at the end of what waits."""
        self._waiting.append(message)
        self._changed.set()

    def set_trailers(self, headers: bytes) -> None:
        """Keep this until the end."""
        self._trailers = headers

    def end(self, failure: GrpcFailure | None) -> None:
        """End the stream when everything is written."""
        self._failure = failure
        self.has_ended = True
        self._changed.set()

    async def write_all(self, context: Context) -> None:
        """Write what waits until the stream ends."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                await context.write(self._waiting.popleft())
                self._tell_writable()
            self._written.set()
            if self.has_ended and not self._waiting:
                if self._failure is not None:
                    _set_status(context, self._failure)
                elif self._trailers:
                    context.set_trailing_metadata(_metadata(self._trailers))
                return

    def _tell_writable(self) -> None:
        callback, self._on_writable = self._on_writable, None
        if callback is not None:
            callback()

    async def wait_written(self) -> None:
        """Wait until something more was written."""
        self._written.clear()
        await self._written.wait()


async def _read_stream(context: Context, stream: StreamInput, output: AioStreamOutput) -> None:
    while True:
        while not stream.has_room():
            await output.wait_written()
        message = await context.read()
        if message is grpc.aio.EOF:
            stream.on_half_close()
            return
        stream.on_message(message)


def _unary(method: UnaryMethod) -> _Unary:
    # One future per call and no task: grpc.aio has made one already (bench: infer-small over gRPC).
    async def serve(request: bytes, context: Context) -> bytes:
        call = AioCall(asyncio.get_running_loop().create_future(), context)
        method(request, call)
        try:
            result = await call.result
        except asyncio.CancelledError:
            call.tell_client_gone()
            raise
        if isinstance(result, GrpcFailure):
            _set_status(context, result)
            return b""  # not sent: the status is not OK
        return result

    return serve


def _deadline_ns(context: Context) -> int:
    """Return until when a client waits, on the monotonic clock; 0: for ever."""
    left: float | None = context.time_remaining()
    return 0 if left is None else time.monotonic_ns() + int(left * 1e9)


def _set_status(context: Context, failure: GrpcFailure) -> None:
    context.set_code(STATUS_CODES[failure.code])
    context.set_details(failure.message)


def _metadata(pairs: bytes) -> tuple[tuple[str, str | bytes], ...]:
    """Return what `set_trailers` takes as the library wants it."""
    return tuple(
        (name, from_base64(value) if is_binary_name(name) else value)
        for name, value in from_pairs(pairs).items()
    )


def _texts(pairs: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    """Return metadata as texts; binary values are marked."""
    return {name: value if isinstance(value, str) else marked(value) for name, value in pairs or ()}


def _refusing(failure: GrpcFailure) -> Handler:
    """Return a handler of the kind that fits every method: it does not read the message."""

    async def refuse(_: object, context: Context) -> None:
        _set_status(context, failure)

    return grpc.stream_stream_rpc_method_handler(refuse)
