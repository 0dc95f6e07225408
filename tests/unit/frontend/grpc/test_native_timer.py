"""The one timer behind the deadlines, pings and ages of all native gRPC connections."""

import os

import pytest

from mpserve.codec.grpc_connection import GrpcConnection, GrpcServerConfig, http2_library_fault
from mpserve.errors import ErrorCode
from mpserve.frontend.grpc.call import GrpcFailure
from mpserve.settings import GrpcSettings
from mpserve.shm.arena import ArenaSegments, open_arena
from mpserve.shm.board import Board
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.dispatcher import Dispatcher
from mpserve.shm.server_id import claim_server_id, release_server_id
from mpserve.shm.sweep import sweep_server
from mpserve.telemetry.traffic import TrafficKind
from tests.fixtures import http2_frames as h2
from tests.fixtures.http2_frames import PREFACE, frame

pytestmark = pytest.mark.skipif(bool(http2_library_fault()), reason="libnghttp2 is not installed")

PATH = "/test.Service/Wait"


class Clock:
    """An event loop that only remembers what was planned."""

    def __init__(self):
        self.planned = []

    def call_later(self, seconds, callback):
        timer = Timer(self, seconds, callback)
        self.planned.append(timer)
        return timer


class Timer:
    def __init__(self, clock, seconds, callback):
        self.clock, self.seconds, self.callback = clock, seconds, callback

    def cancel(self):
        self.clock.planned.remove(self)

    def fire(self):
        self.clock.planned.remove(self)
        self.callback()


class Transport:
    def __init__(self):
        self.written = b""

    def write(self, text):
        self.written += bytes(text)

    def close(self):
        """The test ends the connection itself."""

    def get_extra_info(self, _name):
        """There is no socket."""

    def get_write_buffer_size(self):
        return 0


@pytest.fixture
def dispatcher():
    identity = claim_server_id()
    server_id = identity.server_id
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
    board = Board.create(server_id, processes=4)
    epoch = board.begin(1)
    segments = ArenaSegments(server_id, 1, epoch)
    yield Dispatcher(
        board=board.native,
        process_index=1,
        epoch=epoch,
        frontend_index=0,
        arena=open_arena(segments, initial_bytes=1 << 20, max_bytes=8 << 20),
        ring=CompletionRing.create(server_id, 0, 128).native,
        wake_fd=wake_fd,
        attach=segments.attach,
        call_soon=lambda callback: callback,
        call_later=lambda seconds, callback: (seconds, callback),
    )
    os.close(wake_fd)
    sweep_server(server_id)
    release_server_id(identity)


def test_there_is_one_timer_however_many_deadlines(dispatcher):
    clock, calls = Clock(), []
    config = GrpcServerConfig(
        dispatcher=dispatcher,
        infer=None,
        settings=GrpcSettings(),
        statuses=[0] * len(ErrorCode),
        codings=[],
        refusal=None,
        inflate=bytes,
        deflate=bytes,
        on_crash=lambda path, error: GrpcFailure(code=13, message=f"{path}: {error!r}"),
        call_later=clock.call_later,
        on_empty=lambda: None,
    )
    config.add_method(
        PATH,
        lambda _, call: calls.append(call),
        streams=False,
        guarded=False,
        infers=False,
        wants_metadata=False,
        kind=TrafficKind.UNARY,
    )
    connection, transport = GrpcConnection(config), Transport()
    connection.connection_made(transport)

    def receive(*pieces):
        text = b"".join(pieces)
        memoryview(connection)[: len(text)] = text
        connection.buffer_updated(len(text))

    receive(PREFACE, frame(h2.SETTINGS))
    for number in range(1, 60, 2):  # each has less time than the one before
        head = h2.call_head(PATH, ("grpc-timeout", f"{100 - number}S"))
        receive(
            frame(h2.HEADERS, head, flags=h2.END_HEADERS, stream=number),
            frame(h2.DATA, h2.message(b""), flags=h2.END_STREAM, stream=number),
        )
    assert len(calls) == 30
    [timer] = clock.planned
    assert 40 < timer.seconds <= 41
    for _ in range(10):
        [timer] = clock.planned
        timer.fire()
    assert len(clock.planned) == 1
    connection.connection_lost(None)
