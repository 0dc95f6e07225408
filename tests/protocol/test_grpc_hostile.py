"""Clients that break HTTP/2 or gRPC on purpose, against the native transport."""

import contextlib
import os
import random
import socket
import struct

import grpc
import hpack
import numpy as np
import pytest

from tests.fixtures import http2_frames as h2
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.http2_frames import Connection, frame
from tests.fixtures.pace import within
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import IDENTITY, tensors, write_triton

LIVE = "/inference.GRPCInferenceService/ServerLive"
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
MIB = 1 << 20
ROUNDS = 3000 if os.environ.get("MPSERVE_TEST_FULL") else 300


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_triton(
        folder / "models" / "identity",
        source=IDENTITY,
        config=tensors("input", ("IN", "TYPE_FP32", [-1]))
        + tensors("output", ("OUT", "TYPE_FP32", [-1])),
    )
    flags = ["--grpc-transport=native", "--grpc-max-message-bytes=67108864"]
    with Server.serve(folder / "models", flags=flags, log_path=folder / "log") as one:
        yield one


@pytest.fixture
def port(server):
    """Port of a server that serves on, and is as empty as before, when the test ends."""
    frontend = frontend_of(server)
    yield server.grpc_port

    def has_connections():
        return [
            one
            for one in frontend.net_connections()
            if one.raddr and one.laddr.port == server.grpc_port
        ]

    wait_until(lambda: not has_connections(), deadline=within(10), what="connections to be closed")
    assert is_live(server)
    assert "Traceback" not in server.log_text


def frontend_of(server):
    return server.process_named("mps frontend 0")


def is_live(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        return Calls(channel)("ServerLive").live


def identity_request(values):
    request = Calls(None).infer_request(
        "identity",
        {"name": "IN", "datatype": "FP32", "shape": [len(values)]},
        raw=(np.asarray(values, dtype="<f4").tobytes(),),
    )
    return request.SerializeToString()


def status_of(connection):
    """The `grpc-status` of the first call that ends."""
    one = connection.wait_for(h2.HEADERS, flags=h2.END_STREAM)
    assert one is not None, "the connection ended"
    return int(dict(hpack.Decoder().decode(one.payload))["grpc-status"])


def test_resets_faster_than_calls_end_the_connection(port):
    head = h2.call_head(STREAM)
    with Connection(port) as client:
        resets = [
            frame(h2.HEADERS, head, flags=h2.END_HEADERS, stream=number)
            + frame(h2.RST_STREAM, struct.pack(">I", 8), stream=number)
            for number in range(1, 6001, 2)
        ]
        client.send(*resets)  # at once: the more time they take, the more are allowed
        assert client.end_code() == h2.ENHANCE_YOUR_CALM or client.was_reset


def test_calls_that_are_cancelled_now_and_then_do_no_harm(port):
    with Connection(port) as client:
        for number in range(1, 801, 2):
            client.send(
                frame(h2.HEADERS, h2.call_head(STREAM), flags=h2.END_HEADERS, stream=number),
                frame(h2.RST_STREAM, struct.pack(">I", 8), stream=number),
            )
        client.call(LIVE, h2.message(b""), stream=801)
        assert client.wait_for(h2.DATA).payload == h2.message(b"\x08\x01")


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(h2.SETTINGS), id="settings"),
        pytest.param(frame(h2.PRIORITY, b"\0\0\0\1\1", stream=3), id="priority"),
    ],
)
def test_floods_of_frames_end_the_connection(port, flood):
    with Connection(port) as client:
        for _ in range(30):
            client.send(flood * 100)
        assert client.end_code() == h2.ENHANCE_YOUR_CALM or client.was_reset


def test_a_flood_of_empty_data_ends_the_connection(port):
    with Connection(port) as client:
        client.send(frame(h2.HEADERS, h2.call_head(STREAM), flags=h2.END_HEADERS, stream=1))
        for _ in range(30):
            client.send(frame(h2.DATA, stream=1) * 100)
        assert client.end_code() == h2.ENHANCE_YOUR_CALM or client.was_reset


def test_a_head_without_end_ends_the_connection(port):
    with Connection(port) as client:
        client.send(frame(h2.HEADERS, h2.call_head(LIVE), stream=1))
        for _ in range(30):
            client.send(frame(h2.CONTINUATION, stream=1) * 100)
        client.end_code()


def test_fields_without_end_end_the_connection(port):
    piece = b"".join(h2.field(f"x-{number}", "y" * 1000) for number in range(15))
    with Connection(port) as client:
        client.send(frame(h2.HEADERS, h2.call_head(LIVE), stream=1))
        for _ in range(200):
            client.send(frame(h2.CONTINUATION, piece, stream=1))
        client.end_code()


def test_a_head_that_is_too_large_is_refused_and_the_connection_goes_on(port):
    pieces = [b"".join(h2.field(f"x-{n}", "y" * 1000) for n in range(15)) for _ in range(6)]
    with Connection(port) as client:
        client.send(
            frame(h2.HEADERS, h2.call_head(LIVE), flags=h2.END_STREAM, stream=1),
            *(frame(h2.CONTINUATION, piece, stream=1) for piece in pieces[:-1]),
            frame(h2.CONTINUATION, pieces[-1], flags=h2.END_HEADERS, stream=1),
        )
        assert client.wait_for(h2.HEADERS, flags=h2.END_STREAM) is not None
        client.call(LIVE, h2.message(b""), stream=3)
        assert client.wait_for(h2.DATA).payload == h2.message(b"\x08\x01")


def test_pings_without_pause_end_the_connection(port):
    with Connection(port) as client:
        client.send(frame(h2.PING, b"12345678") * 10)
        assert client.end_code() == h2.ENHANCE_YOUR_CALM


def test_a_client_that_does_not_read_answers_gets_no_more_of_them(server, port):
    """The window is as large as it can be, so the socket alone holds the answers back."""
    frontend = frontend_of(server)
    body = h2.message(identity_request(np.zeros(MIB // 4)))
    chunks = [body[at : at + 16000] for at in range(0, len(body), 16000)]
    before = frontend.memory_full_info().uss
    with Connection(port) as client:
        client.send(
            frame(h2.SETTINGS, struct.pack(">HI", 4, (1 << 31) - 1)),
            frame(h2.WINDOW, struct.pack(">I", (1 << 31) - 1 - 65535)),
        )
        client._socket.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            for number in range(1, 401, 2):
                client.send(
                    frame(h2.HEADERS, h2.call_head(INFER), flags=h2.END_HEADERS, stream=number),
                    *(frame(h2.DATA, chunk, stream=number) for chunk in chunks[:-1]),
                    frame(h2.DATA, chunks[-1], flags=h2.END_STREAM, stream=number),
                )
        assert frontend.memory_full_info().uss - before < 150 * MIB
        assert is_live(server)


def test_more_calls_at_once_than_allowed_are_refused_one_by_one(port):
    with Connection(port) as client:
        for number in range(1, 2 * 1100, 2):
            client.send(
                frame(h2.HEADERS, h2.call_head(STREAM), flags=h2.END_HEADERS, stream=number)
            )
        refused = client.wait_for(h2.RST_STREAM)
        assert struct.unpack(">I", refused.payload)[0] in {1, 7}  # the settings may not be known


def test_a_promise_of_a_large_message_takes_no_memory(server, port):
    frontend = frontend_of(server)
    before = frontend.memory_full_info().uss
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(Connection(port))
            for number in range(1, 20, 2):
                client.send(
                    frame(h2.HEADERS, h2.call_head(INFER), flags=h2.END_HEADERS, stream=number),
                    frame(h2.DATA, h2.message(b"x", bytes_told=64 * MIB), stream=number),
                )
        assert is_live(server)
        assert frontend.memory_full_info().uss - before < 100 * MIB


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(h2.message(b"", flag=7), 13, id="flag"),
        pytest.param(h2.message(b"x", bytes_told=64 * MIB + 1), 8, id="size"),
        pytest.param(h2.message(b"abc", flag=1), 13, id="compressed without an encoding"),
        pytest.param(b"", 13, id="no message"),
        pytest.param(b"\0\0", 13, id="half a prefix"),
        pytest.param(h2.message(b"abc", bytes_told=5), 13, id="half a message"),
        pytest.param(h2.message(b"") * 2, 12, id="two messages"),
        pytest.param(h2.message(b"\xff\xff\xff"), 13, id="no protobuf"),
    ],
)
def test_calls_that_break_the_framing_have_a_status(port, body, status):
    with Connection(port) as client:
        client.call(INFER, body)
        assert status_of(client) == status
        client.call(LIVE, h2.message(b""), stream=3)
        assert client.wait_for(h2.DATA).payload == h2.message(b"\x08\x01")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param([("grpc-encoding", "br")], 12, id="unknown encoding"),
        pytest.param([("grpc-timeout", "soon")], 13, id="timeout"),
        pytest.param([("grpc-timeout", "0n")], 4, id="no time"),
    ],
)
def test_heads_that_can_not_be_served_have_a_status(port, more, expected):
    with Connection(port) as client:
        client.call(STREAM, b"", *more)
        assert status_of(client) == expected


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":method", "GET"), (":path", LIVE)], "405"),
        ([(":method", "POST"), (":path", LIVE), ("content-type", "text/plain")], "415"),
    ],
)
def test_what_is_no_grpc_gets_an_http_status(port, fields, status):
    block = b"".join(
        h2.field(*one) for one in [*fields[:2], (":scheme", "http"), (":authority", "a")]
    )
    block += b"".join(h2.field(*one) for one in fields[2:])
    with Connection(port) as client:
        client.send(
            frame(h2.HEADERS, block, flags=h2.END_HEADERS | h2.END_STREAM, stream=1),
        )
        answer = client.wait_for(h2.HEADERS)
        assert dict(hpack.Decoder().decode(answer.payload))[":status"] == status


def test_other_protocols_are_hung_up_on(port):
    for junk in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 50):
        with socket.create_connection(("127.0.0.1", port), timeout=within(5)) as connection:
            connection.sendall(junk)
            with contextlib.suppress(ConnectionError):
                while connection.recv(1000):
                    pass


def test_any_bytes_leave_the_server_serving(port):
    """Mutations of a good conversation, cut anywhere; the seed is fixed."""
    random_numbers = random.Random(20_260_101)
    infer = h2.message(identity_request([1.0, 2.0]))
    good = [
        frame(h2.HEADERS, h2.call_head(INFER), flags=h2.END_HEADERS, stream=1),
        frame(h2.DATA, infer[:7], stream=1),
        frame(h2.DATA, infer[7:], flags=h2.END_STREAM, stream=1),
        frame(h2.HEADERS, h2.call_head(STREAM), flags=h2.END_HEADERS, stream=3),
        frame(h2.DATA, infer * 3, stream=3),
        frame(h2.HEADERS, h2.field("x", "y"), flags=h2.END_HEADERS | h2.END_STREAM, stream=3),
        frame(h2.PING, b"12345678"),
        frame(h2.SETTINGS, struct.pack(">HIHI", 4, 0, 5, 16384)),
        frame(h2.WINDOW, struct.pack(">I", 100), stream=1),
        frame(h2.RST_STREAM, struct.pack(">I", 8), stream=3),
        frame(h2.GOAWAY, struct.pack(">II", 0, 0)),
        frame(h2.HEADERS, h2.call_head(LIVE), flags=h2.END_HEADERS, stream=5),
        frame(h2.DATA, h2.message(b""), flags=h2.END_STREAM, stream=5),
        frame(h2.PUSH, b"\0\0\0\2", flags=h2.END_HEADERS, stream=1),
    ]
    for _ in range(ROUNDS):
        frames = random_numbers.sample(good, random_numbers.randint(1, len(good)))
        if random_numbers.random() < 0.5:
            frames = sorted(frames, key=good.index)
        text = bytearray(b"".join(frames))
        for _ in range(random_numbers.choice([0, 1, 1, 2, 5])):
            text[random_numbers.randrange(len(text))] = random_numbers.randrange(256)
        with Connection(port) as client:
            client.send(bytes(text[: random_numbers.randint(1, len(text))]))
            if random_numbers.random() < 0.3:
                client._socket.settimeout(0.05)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    client._socket.recv(1 << 16)
