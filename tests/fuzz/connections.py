"""The native connections without a socket: bytes in, as a transport would give them."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from mpserve.codec.cloud_events import Events
from mpserve.codec.grpc_connection import GrpcConnection, GrpcServerConfig
from mpserve.codec.http_connection import Exchange, HttpConnection
from mpserve.codec.proto_infer import ProtoInfer
from mpserve.dialect import TRITON, GrpcCode
from mpserve.errors import ErrorCode
from mpserve.frontend.grpc.call import GrpcFailure, Metadata, StreamOutput
from mpserve.frontend.grpc.message_encoding import WANTED, MessageInflater, deflate
from mpserve.frontend.http import responses
from mpserve.frontend.http.server import http_config
from mpserve.settings import GrpcCompression, GrpcSettings, Settings
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.client_region import RegionTable
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.dispatcher import Answer, Dispatcher, Route
from mpserve.shm.model_queue import ModelQueue
from mpserve.shm.server_id import claim_server_id, release_server_id
from mpserve.shm.sweep import sweep_server
from mpserve.telemetry.traffic import TrafficKind
from tests.fuzz.transport import SocketTransport, Transport

INFER = "/inference.GRPCInferenceService/ModelInfer"
REGISTERED = (("r", 3, 64, 40), ("s", 9, 0, 2**40))  # name, id, offset, bytes
FAULTY = b"/faulty"  # its handler raises
UNARY = "/test.Service/Ask"
STREAM = "/test.Service/Talk"
MAX_MESSAGE_BYTES = 4096
MAX_BODY_BYTES = 1 << 16
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # only where the body did not come with the head


class Timer:
    """A call that never comes."""

    def cancel(self) -> None:
        """It does not come anyway."""


class Bench:
    """A dispatcher, and the configurations of both wires. A `with` block ends it.

    Its one model `m` takes any tensors; at the end of each turn what waits for it is refused.
    """

    def __init__(self) -> None:
        self._identity = claim_server_id()
        server_id = self._identity.server_id
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        board = Board.create(server_id, processes=4)
        epoch = board.begin(1)
        segments = ArenaSegments(server_id, 1, epoch)
        self._turn: list[Callable[[], None]] = []
        self._regions = RegionTable(on_free=lambda: None)
        self._regions.publish(REGISTERED)
        ring = CompletionRing.create(server_id, 0, 128)
        self._arena = open_arena(segments, initial_bytes=1 << 20, max_bytes=8 << 20)
        dispatcher = self._dispatcher = Dispatcher(
            board=board.native,
            process_index=1,
            epoch=epoch,
            frontend_index=0,
            arena=self._arena,
            ring=ring.native,
            wake_fd=self._wake_fd,
            attach=segments.attach,
            call_soon=self._turn.append,
            call_later=_never,
            regions=self._regions,
        )
        dispatcher.open_sockets()
        self._queue = ModelQueue.create(
            server_id, 1, rings=[ring], wake_fds=[self._wake_fd], slots=64
        )
        dispatcher.update("m", {"": self._route(), "1": self._route()})
        self._http = http_config(
            dispatcher=dispatcher,
            dialect=TRITON,
            settings=Settings(http_max_input_size=MAX_BODY_BYTES, arena_max_bytes=MAX_BODY_BYTES),
            on_exchange=_answer,
            native_inference=True,
            events=Events(),
        )
        self.infer = ProtoInfer(
            dispatcher=dispatcher, on_failure=_failed, on_rare=_rare, on_headers=_with_headers
        )
        self._grpc = _grpc_config(dispatcher, self.infer)

    def _route(self) -> Route:
        return Route(
            port=self._dispatcher.make_port(self._queue.native),
            model_name="m",
            model_version="1",
            generation=1,
            inputs=(),
            outputs=(),
            max_batch_size=0,
            open_inputs=True,
            open_outputs=True,
        )

    def end_turn(self) -> None:
        """Do what a loop does after it has read: push what came, and hear that nobody took it."""
        goes_on = True
        while goes_on:
            turn, self._turn[:] = list(self._turn), []
            for call in turn:
                call()
            answered = self._queue.answer_waiting(ErrorCode.UNAVAILABLE)
            self._dispatcher.on_wake()
            goes_on = answered > 0 or bool(self._turn)

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.end_turn()
        assert self._dispatcher.in_flight == 0
        self._regions.publish(())
        assert self._regions.in_use() == []  # whatever came, nothing is held
        assert self._arena.used_bytes == 0
        os.close(self._wake_fd)
        sweep_server(self._identity.server_id)
        release_server_id(self._identity)

    def http(self, text: bytes) -> None:
        """Give `text` to HTTP connections, whole, in pieces and by sockets: they answer alike."""
        whole, pieces = (self.http_answer(text, piece) for piece in (len(text) or 1, 7))
        assert pieces.replace(CONTINUE, b"") == whole.replace(CONTINUE, b"")
        by_socket = self.http_answer_by_socket(text, max(len(text) // 6, 1))
        assert by_socket.replace(CONTINUE, b"") == whole.replace(CONTINUE, b"")

    def http_answer(self, text: bytes, piece: int) -> bytes:
        """Return what an HTTP connection writes that gets pieces of so many bytes."""
        return self._feed(partial(HttpConnection, self._http), text, piece)

    def http_answer_by_socket(self, text: bytes, piece: int) -> bytes:
        """As `http_answer`; the core reads all but the first pieces itself."""
        return self._send(partial(HttpConnection, self._http), text, piece)

    def grpc(self, text: bytes) -> None:
        """Give `text` to gRPC connections, whole, in pieces and by sockets."""
        for piece in (len(text) or 1, 11):
            self.grpc_answer(text, piece)
        self._send(partial(GrpcConnection, self._grpc), text, max(len(text) // 6, 1))

    def grpc_answer(self, text: bytes, piece: int) -> bytes:
        """As `http_answer`."""
        return self._feed(partial(GrpcConnection, self._grpc), text, piece)

    def _feed(self, make: Callable[[], Any], text: bytes, piece: int) -> bytes:
        connection, transport = make(), Transport()
        connection.connection_made(transport)
        try:
            while text and not transport.is_closed:
                buffer = memoryview(connection.get_buffer(-1))
                taken = text[: min(piece, len(buffer))]
                text = text[len(taken) :]
                buffer[: len(taken)] = taken
                buffer.release()
                connection.buffer_updated(len(taken))
                self.end_turn()
            if not transport.is_closed:
                connection.eof_received()
        finally:
            connection.connection_lost(None)
            self.end_turn()
        return bytes(transport.written)

    def _send(self, make: Callable[[], Any], text: bytes, piece: int) -> bytes:
        with SocketTransport() as transport:
            connection = make()
            connection.connection_made(transport)
            try:
                while text and not transport.is_closed:
                    transport.client_sends(text[:piece])
                    text = text[piece:]
                    self._read(transport, connection)
                transport.client_ends()
                self._read(transport, connection)
            finally:
                connection.connection_lost(None)
                self.end_turn()
            return transport.received()

    def _read(self, transport: SocketTransport, connection: Any) -> None:
        """Let the loop and the core read until there is no more."""
        goes_on = True
        while goes_on:
            goes_on = transport.gives(connection)
            self._dispatcher.turn()
            self.end_turn()


def _answer(exchange: Exchange) -> None:
    """Look at everything that an endpoint may look at, and answer."""
    if exchange.target == FAULTY:
        raise LookupError(exchange.target)
    assert isinstance(exchange.method, str)
    assert exchange.target
    assert all(name == name.lower() for name, _ in exchange.headers)
    body = b"" if exchange.body_too_large or exchange.body_has_no_room else bytes(exchange.body)
    if len(body) % 2:
        exchange.start_stream(200, [(b"content-type", b"text/plain")])
        exchange.write_chunk(body)
        exchange.end_stream()
        return
    responses.send(exchange, responses.json_response(body))


def _grpc_config(dispatcher: Dispatcher, infer: ProtoInfer) -> GrpcServerConfig:
    config = GrpcServerConfig(
        dispatcher=dispatcher,
        infer=infer,
        settings=GrpcSettings(max_message_bytes=MAX_MESSAGE_BYTES),
        statuses=[0] * len(ErrorCode),
        codings=WANTED[GrpcCompression.LOW],
        refusal=None,
        inflate=MessageInflater(MAX_MESSAGE_BYTES).inflate,
        deflate=deflate,
        on_crash=_crash,
        call_later=_never,
        on_empty=lambda: None,
    )
    config.add_method(
        UNARY, lambda request, call: call.finish(bytes(request)), streams=False, guarded=False,
        infers=False, wants_metadata=True, kind=TrafficKind.UNARY,
    )  # fmt: skip
    config.add_method(
        INFER, lambda request, call: call.finish(bytes(request)), streams=False, guarded=False,
        infers=True, wants_metadata=False, kind=TrafficKind.UNARY,
    )  # fmt: skip
    config.add_method(
        STREAM,
        _Talk,
        streams=True,
        guarded=False,
        infers=False,
        wants_metadata=True,
        kind=TrafficKind.BIDI_STREAMING,
    )
    return config


def _never(_seconds: float, _callback: Callable[[], None]) -> Timer:
    return Timer()


def _failed(code: int, message: str) -> GrpcFailure:
    return GrpcFailure(code=GrpcCode.UNAVAILABLE, message=f"{code}: {message}")


def _with_headers(message: bytes, _: bytes) -> bytes:
    return message


def _rare(answer: Answer, in_stream: bool) -> bytes:
    raise AssertionError((answer, in_stream))


def _crash(path: str, error: BaseException) -> GrpcFailure:
    raise AssertionError(path) from error


class _Talk:
    """A stream that sends back what came."""

    def __init__(self, output: StreamOutput, _metadata: Metadata) -> None:
        self._output = output

    def on_message(self, message: bytes) -> None:
        self._output.send(bytes(message))

    def on_half_close(self) -> None:
        self._output.end(None)

    def on_client_gone(self) -> None:
        """Nothing is held."""

    def on_drain(self) -> None:
        """The server never ends."""

    def has_room(self) -> bool:
        return True
