"""TLS handshakes that are under way when a server ends, or that never end."""

import contextlib
import signal
import socket
import ssl
import time

import pytest

from mpserve.codec.grpc_connection import http2_library_fault
from tests.fixtures import http2_frames as h2
from tests.fixtures.certificates import make_certificate
from tests.fixtures.pace import IS_FULL, within
from tests.fixtures.teller import teller_bytes
from tests.fixtures.waiting import wait_until

RECEIVED_BYTES = 1 << 16
SILENT = 200
GIVEN_UP_SECONDS = 20  # the server's limit for a handshake

pytestmark = pytest.mark.skipif(http2_library_fault() != "", reason="nghttp2 is not installed")


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path, "server")


@pytest.fixture
def server(serve, repository, certificate):
    repository.add("teller", "a")
    key = certificate.with_suffix(".key")
    flags = [
        "--http-use-ssl=true",
        f"--http-server-cert={certificate}",
        f"--http-server-key={key}",
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={certificate}",
        f"--grpc-server-key={key}",
        "--frontends=1",
    ]
    server = serve(repository.path, flags=flags, wait_ready=False)
    wait_until(lambda: "server.ready" in server.log_text, deadline=within(20))
    return server


class Handshake:
    """A client that shakes hands step by step."""

    def __init__(self, port: int, certificate, *, alpn: str) -> None:
        context = ssl.create_default_context(cafile=certificate)
        context.set_alpn_protocols([alpn])
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=within(10))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def begin(self) -> None:
        """Send the half of the first message."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        hello = self._outgoing.read()
        self._rest = hello[100:]
        self._socket.sendall(hello[:100])

    def finish(self) -> None:
        self._socket.sendall(self._rest)
        self._repeat(self._tls.do_handshake)

    def send(self, text: bytes) -> None:
        self._tls.write(text)
        self._socket.sendall(self._outgoing.read())

    def receive(self) -> bytes:
        """Return what comes next, b"" at the orderly end of the connection."""
        try:
            return self._repeat(lambda: self._tls.read(RECEIVED_BYTES))
        except ssl.SSLZeroReturnError:
            return b""

    def receive_all(self) -> bytes:
        return b"".join(iter(self.receive, b""))

    def _repeat(self, step):
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                self._incoming.write(self._received())
            else:
                self._socket.sendall(self._outgoing.read())
                return done

    def _received(self) -> bytes:
        got = self._socket.recv(RECEIVED_BYTES)
        assert got, "the connection was cut"
        return got


def wait_closed(port: int) -> None:
    """Return when nobody listens there."""

    def is_refused() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=within(2)).close()
            return False
        return True

    wait_until(is_refused, deadline=within(10))


def test_a_handshake_that_is_under_way_at_the_end_is_finished_and_its_request_answered(
    server, certificate
):
    with Handshake(server.port, certificate, alpn="http/1.1") as client:
        client.begin()
        server.process.send_signal(signal.SIGTERM)
        wait_closed(server.port)
        client.finish()
        client.send(teller_bytes("a"))
        answer = client.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert server.wait_exit() == 0


def test_who_has_shaken_hands_and_asks_nothing_is_let_go(server, certificate):
    with Handshake(server.port, certificate, alpn="http/1.1") as client:
        client.begin()
        server.process.send_signal(signal.SIGTERM)
        wait_closed(server.port)
        client.finish()
        assert client.receive_all() == b""
    assert server.wait_exit() == 0


def test_a_grpc_client_that_shakes_hands_at_the_end_is_sent_elsewhere(server, certificate):
    with Handshake(server.grpc_port, certificate, alpn="h2") as client:
        client.begin()
        server.process.send_signal(signal.SIGTERM)
        wait_closed(server.grpc_port)
        client.finish()
        client.send(h2.PREFACE + h2.frame(h2.SETTINGS))
        received = client.receive_all()
    kinds = []
    while received:
        kinds.append(received[3])
        received = received[9 + int.from_bytes(received[:3]) :]
    assert h2.GOAWAY in kinds
    assert server.wait_exit() == 0


def test_handshakes_that_never_end_delay_no_end_for_long(server):
    with contextlib.ExitStack() as silent:
        for port in (server.port, server.grpc_port) * (SILENT // 2):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=within(5)))
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert time.monotonic() - begun < within(5)  # not the 30 seconds of the grace
    assert "Traceback" not in server.log_text


@pytest.mark.skipif(not IS_FULL, reason="it waits for the server's limit: 20 seconds")
def test_handshakes_that_never_end_are_given_up(server, certificate):
    frontend = server.process_named("mps frontend 0")

    def connections() -> int:
        return sum(bool(one.raddr) for one in frontend.net_connections("tcp"))

    with contextlib.ExitStack() as silent:
        for port in (server.port, server.grpc_port) * (SILENT // 2):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=within(5)))
        wait_until(lambda: connections() == SILENT, deadline=within(5))
        with Handshake(server.port, certificate, alpn="http/1.1") as client:
            client.begin()
            client.finish()
            client.send(teller_bytes("a"))
            assert client.receive().startswith(b"HTTP/1.1 200 OK")
        wait_until(lambda: connections() == 0, deadline=GIVEN_UP_SECONDS + within(5))
    assert server.stop() == 0
    assert "Traceback" not in server.log_text
