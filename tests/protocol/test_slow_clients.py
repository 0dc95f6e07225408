"""Clients that send nothing, too little, or do not read: they end; who keeps up notices nothing."""

import contextlib
import json
import os
import resource
import socket
import struct
import threading
import time

import grpc
import pytest

from tests.fixtures import http2_frames as h2
from tests.fixtures.closed_loop import Connection, post_bytes
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.http2_frames import frame
from tests.fixtures.memory import settled_frontend
from tests.fixtures.pace import within
from tests.fixtures.repository import Repository
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

RECEIVE, SEND, IDLE = 1, 1, 2
FLAGS = (
    f"--client-receive-timeout-secs={RECEIVE}",
    f"--client-send-timeout-secs={SEND}",
    f"--client-idle-timeout-secs={IDLE}",
    "--grpc-transport=native",
)
LIMIT = within(2 * RECEIVE + 8)  # two windows, looked at once a second
INFER = "/inference.GRPCInferenceService/ModelInfer"
MIB = 1 << 20
VALUES = 4 * MIB
IDLE_CONNECTIONS = 10_000 if os.environ.get("MPSERVE_TEST_FULL") else 1_000
IDLE_BYTES_EACH = 100 * MIB // 10_000
TICKS = 0.02  # seconds: two of the clock that counts the processor's


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    repository = Repository(folder / "models")
    repository.add("identity", "m")
    with Server.serve(repository.path, flags=FLAGS, log_path=folder / "log") as one:
        yield one


@pytest.fixture(autouse=True)
def steady(server):
    """Somebody who keeps up is answered all the while; may connect anew after a pause too long."""
    stop = threading.Event()
    statuses = []

    def go_on():
        connection, asked = Connection(server), time.monotonic()
        while not stop.is_set():
            before, asked = asked, time.monotonic()
            try:
                statuses.append(connection.exchange(whole([1.0]))[0])
            except ConnectionError:
                if time.monotonic() - before < IDLE:
                    statuses.append(0)
                connection.close()
                connection, asked = Connection(server), time.monotonic()
            stop.wait(0.05)
        connection.close()

    thread = threading.Thread(target=go_on)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert set(statuses) <= {200}


def whole(values):
    tensor = {"name": "INPUT0", "shape": [len(values)], "datatype": "FP32", "data": values}
    return post_bytes("/v2/models/m/infer", {"inputs": [tensor]})


def binary_head():
    """Head and JSON of a request with a large binary tensor, whose bytes are to follow."""
    tensor = {
        "name": "INPUT0",
        "shape": [VALUES // 4],
        "datatype": "FP32",
        "parameters": {"binary_data_size": VALUES},
    }
    outputs = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]
    text = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    head = (
        f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text) + VALUES}\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def ends(client):
    """Whether the server has closed."""
    client.settimeout(LIMIT)
    with contextlib.suppress(ConnectionError):
        while client.recv(1 << 16):
            pass
    return True


BEGINNINGS = {
    "head": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n",
    "line": b"P",
    "body": whole([1.0])[:-3],
    "large body": binary_head() + bytes(100_000),
    "chunk": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5",
}


def test_a_request_that_stops_coming_is_refused_and_its_connection_ends(server):
    """All at once, to wait once."""
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(connected(server.port)) for name in BEGINNINGS}
        for name, client in clients.items():
            client.sendall(BEGINNINGS[name])
        for name, client in clients.items():
            answer = client.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 408 "), (name, answer)
            assert b"connection: close" in answer.lower()
            assert ends(client)


def test_bytes_that_trickle_do_not_help(server):
    """One byte now and then, in a head and in a body."""
    with connected(server.port) as head, connected(server.port) as body:
        body.sendall(BEGINNINGS["large body"])
        head.sendall(BEGINNINGS["head"])
        for client in (head, body):
            client.setblocking(False)
        waiting = {head: b"x", body: b"\0"}

        def refused():
            for client, byte in list(waiting.items()):
                with contextlib.suppress(BlockingIOError):
                    assert client.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
                    del waiting[client]
                    continue
                client.send(byte)
            time.sleep(0.05)
            return not waiting

        wait_until(refused, deadline=LIMIT)


def test_a_body_that_comes_slowly_but_surely_is_taken(server):
    request = whole([0.5] * 8000)

    def is_taken():
        with connected(server.port) as client:
            begun = time.monotonic()
            for at in range(0, len(request), 2000):
                client.sendall(request[at : at + 2000])
                time.sleep(0.12)  # the pace is what is tested
            assert time.monotonic() - begun > RECEIVE + 1
            return client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")

    # Again where a busy machine let nobody run for too long between two pieces.
    wait_until(is_taken, what="the body to be taken")


def test_who_does_not_read_is_cut_off_and_holds_bounded_memory(server):
    frontend = settled_frontend(server)
    before = frontend.memory_info().rss
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(4)]
        request = binary_head() + bytes(VALUES)
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
        sent = dict.fromkeys(clients, 0)
        is_cut: set[socket.socket] = set()

        def all_cut():
            for client in set(clients) - is_cut:
                try:
                    at = sent[client] % len(request)
                    sent[client] += client.send(request[at : at + MIB])
                except BlockingIOError:
                    continue
                except ConnectionError:
                    is_cut.add(client)
            return len(is_cut) == len(clients)

        wait_until(all_cut, deadline=LIMIT)
        assert frontend.memory_info().rss - before < 40 * VALUES


def test_who_has_nothing_to_ask_is_let_go_but_not_who_asks(server):
    with connected(server.port) as silent, connected(server.port) as once:
        once.sendall(whole([1.0]))
        assert once.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert ends(silent)
        assert ends(once)


def test_grpc_calls_that_stop_coming_are_refused(server):
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(connected(server.grpc_port))
        no_message, half, no_head = (
            stack.enter_context(h2.Connection(server.grpc_port, seconds=LIMIT)) for _ in range(3)
        )
        no_message.send(frame(h2.HEADERS, h2.call_head(INFER), flags=h2.END_HEADERS, stream=1))
        half.send(
            frame(h2.HEADERS, h2.call_head(INFER), flags=h2.END_HEADERS, stream=1),
            frame(h2.DATA, h2.message(b"x" * 10, bytes_told=1 << 20), stream=1),
        )
        no_head.send(frame(h2.HEADERS, h2.call_head(INFER), stream=1))
        for one in (no_message, half):
            end = one.wait_for(h2.HEADERS, flags=h2.END_STREAM)
            assert end is not None
            assert b"grpc-status" in end.payload or end.payload  # HPACK may compress it
        goaway = no_head.wait_for(h2.GOAWAY)
        assert goaway is not None
        assert struct.unpack(">I", goaway.payload[4:8])[0] == h2.ENHANCE_YOUR_CALM
        assert ends(silent)


def test_grpc_streams_may_rest_and_idle_channels_come_back(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        assert calls("ServerLive").live
        resting = h2.Connection(server.grpc_port, seconds=LIMIT)
        with resting:
            stream = "/inference.GRPCInferenceService/ModelStreamInfer"
            resting.send(frame(h2.HEADERS, h2.call_head(stream), flags=h2.END_HEADERS, stream=1))
            idle = h2.Connection(server.grpc_port, seconds=LIMIT)
            with idle:
                goaway = idle.wait_for(h2.GOAWAY)
                assert goaway is not None
            resting.send(frame(h2.PING, bytes(8)))
            assert resting.wait_for(h2.PING, flags=h2.ACK) is not None
        assert calls("ServerLive").live


def test_a_grpc_answer_that_is_not_read_ends_its_call(server):
    request = Calls(None).infer_request(
        "m",
        {"name": "INPUT0", "datatype": "FP32", "shape": [MIB // 4]},
        raw=(bytes(MIB),),  # its answer is more than the client's first window
    )
    with h2.Connection(server.grpc_port, seconds=LIMIT) as client:
        assert client.wait_for(h2.SETTINGS) is not None
        client.send(frame(h2.SETTINGS, flags=h2.ACK))  # its windows hold from here
        client.send(frame(h2.HEADERS, h2.call_head(INFER), flags=h2.END_HEADERS, stream=1))
        body = h2.message(request.SerializeToString())
        pieces = [body[at : at + 16384] for at in range(0, len(body), 16384)]
        client.send(
            *(frame(h2.DATA, piece, stream=1) for piece in pieces[:-1]),
            frame(h2.DATA, pieces[-1], flags=h2.END_STREAM, stream=1),
        )
        reset = client.wait_for(h2.RST_STREAM)
        assert reset is not None
        assert (reset.stream, struct.unpack(">I", reset.payload)[0]) == (1, h2.CANCEL)


def test_connections_past_the_limit_are_told_so_and_places_come_back(serve, repository):
    repository.add("identity", "m")
    server = serve(repository.path, flags=["--client-max-connections=3"])
    kept = [Connection(server) for _ in range(3)]
    for one in kept:
        assert one.exchange(whole([1.0]))[0] == 200
    with connected(server.port) as refused:
        refused.sendall(whole([1.0]))
        answer = refused.recv(1 << 16).lower()
        assert answer.startswith(b"http/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert b"all 3 connections are taken" in answer
    kept.pop().close()

    def served():
        with connected(server.port) as client:
            client.sendall(whole([1.0]))
            return client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")

    wait_until(served, deadline=within(10))
    for one in kept:
        assert one.exchange(whole([1.0]))[0] == 200
        one.close()
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(h2.Connection(server.grpc_port)) for _ in range(3)]
        for one in places:
            assert one.wait_for(h2.SETTINGS) is not None
        extra = stack.enter_context(h2.Connection(server.grpc_port))
        goaway = extra.wait_for(h2.GOAWAY)
        assert goaway is not None
        assert struct.unpack(">I", goaway.payload[4:8])[0] == h2.ENHANCE_YOUR_CALM


def test_idle_connections_cost_little(serve, repository):
    """100 MiB for 10,000, over both protocols; who asks is answered as fast as before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE_CONNECTIONS + 500:
        pytest.skip(f"{hard} open files are too few for {IDLE_CONNECTIONS} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    repository.add("identity", "m")
    server = serve(
        repository.path,
        prefix=["sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh"],  # the server raises it itself
    )
    frontend = settled_frontend(server)
    try:
        with contextlib.closing(Connection(server)) as busy:
            processor_seconds(frontend, busy)
            before = frontend.memory_info().rss
            with idle_connections(server, frontend):
                assert frontend.memory_info().rss - before < IDLE_CONNECTIONS * IDLE_BYTES_EACH

            def are_cheap():
                alone = processor_seconds(frontend, busy)
                with idle_connections(server, frontend):
                    return processor_seconds(frontend, busy) < 1.5 * alone + TICKS

            # What others do to the processor's caches comes and goes.
            wait_until(are_cheap, deadline=within(30), what="idle connections to cost little")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def idle_connections(server, frontend):
    """Hold them while the block runs, and until they are gone."""
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            stack.enter_context(connected(server.port))
        wait_until(lambda: frontend.num_fds() > IDLE_CONNECTIONS, deadline=within(20))
        yield
    wait_until(lambda: frontend.num_fds() < IDLE_CONNECTIONS, deadline=within(20))


def processor_seconds(frontend, connection):
    """Of the frontend, for a thousand requests: the least of three times."""
    request = whole([1.0])

    def once():
        begun = sum(frontend.cpu_times()[:2])
        for _ in range(1000):
            assert connection.exchange(request)[0] == 200
        return sum(frontend.cpu_times()[:2]) - begun

    return min(once() for _ in range(3))
