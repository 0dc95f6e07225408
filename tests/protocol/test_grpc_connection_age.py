"""What a connection of the native transport does by the clock: its age, its pings, its end."""

import signal

import pytest

from tests.fixtures import http2_frames as h2
from tests.fixtures.http2_frames import Connection, frame
from tests.fixtures.pace import within
from tests.protocol.models import write_named

LIVE = "/inference.GRPCInferenceService/ServerLive"
IS_LIVE = h2.message(b"\x08\x01")
ANSWERED_SECONDS = 5  # a client that is slow is not one that is silent


@pytest.fixture
def serve_native(serve, tmp_path):
    models = write_named(tmp_path / "models", "slow")
    return lambda *flags: serve(models, flags=["--grpc-transport=native", *flags])


def answer(connection, stream):
    connection.call(LIVE, h2.message(b""), stream=stream)
    one = connection.wait_for(h2.DATA)
    return one and one.payload


def test_an_old_connection_is_told_to_go(serve_native):
    server = serve_native("--grpc-max-connection-age=400")
    with Connection(server.grpc_port) as client:
        told = client.wait_for(h2.GOAWAY)
        assert told is not None
        assert told.payload[4:8] == b"\0\0\0\0"


def test_a_silent_client_is_pinged_and_left(serve_native):
    server = serve_native(
        "--grpc-keepalive-time=300",
        f"--grpc-keepalive-timeout={1000 * ANSWERED_SECONDS}",
        "--grpc-keepalive-permit-without-calls=true",
        "--grpc-http2-max-pings-without-data=0",
    )
    with Connection(server.grpc_port, seconds=within(20)) as client:
        for _ in range(2):
            ping = client.wait_for(h2.PING)
            client.send(frame(h2.PING, ping.payload, flags=h2.ACK))
        assert answer(client, 1) == IS_LIVE
        assert client.wait_for(h2.PING) is not None
        while client.next_frame() is not None:  # it is not answered: the connection ends
            pass


def test_pings_of_a_client_that_asks_something_are_forgiven(serve_native):
    server = serve_native("--grpc-http2-max-ping-strikes=1")
    with Connection(server.grpc_port) as client:
        for number in range(1, 20, 2):
            client.send(frame(h2.PING, b"12345678"))
            assert client.wait_for(h2.PING, flags=h2.ACK).payload == b"12345678"
            assert answer(client, number) == IS_LIVE


def test_an_end_is_announced(serve_native):
    server = serve_native()
    with Connection(server.grpc_port) as client:
        assert answer(client, 1) == IS_LIVE
        server.process.send_signal(signal.SIGTERM)
        assert client.wait_for(h2.GOAWAY) is not None
        while (one := client.next_frame()) is not None:
            if one.kind == h2.PING:
                client.send(frame(h2.PING, one.payload, flags=h2.ACK))
    assert server.wait_exit() == 0
