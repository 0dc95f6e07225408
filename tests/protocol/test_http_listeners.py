"""HTTP over Unix-domain sockets and under TLS: the same native connections."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.certificates import lock_key, make_certificate
from tests.fixtures.server import ANSWER_SECONDS, READY_SECONDS, Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import write_identity

INFER = "/v2/models/m/infer"
SENT = {"inputs": [{"name": "IN", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}
BIG = np.arange(3_000_000, dtype=np.float32)


class UnixConnection(http.client.HTTPConnection):
    """A client of a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model."""
    return write_identity(tmp_path_factory.mktemp("listeners") / "models")


def ask(
    client: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    client.request(method, path, body, headers)
    answer = client.getresponse()
    return answer.status, answer.read()


def is_ready(make: Callable[[], http.client.HTTPConnection]) -> bool:
    with contextlib.closing(make()) as client:
        return ask(client, "GET", "/v2/health/ready")[0] == 200


def check_everything(client: http.client.HTTPConnection) -> None:
    """Small and large requests, streams and errors on one connection."""
    status, body = ask(client, "POST", INFER, json.dumps(SENT).encode())
    assert (status, json.loads(body)["outputs"][0]["data"]) == (200, [1.0, 2.0])
    head = json.dumps(
        {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {"name": "IN", "shape": [len(BIG)], "datatype": "FP32",
                 "parameters": {"binary_data_size": BIG.nbytes}}
            ],
        }
    ).encode()  # fmt: skip
    status, body = ask(
        client, "POST", INFER, head + BIG.tobytes(),
        **{"Inference-Header-Content-Length": str(len(head))},
    )  # fmt: skip
    assert status == 200
    assert body.endswith(BIG.tobytes())
    status, body = ask(client, "POST", "/v2/models/m/generate_stream", b'{"IN":[3,4]}')
    assert (status, json.loads(body.removeprefix(b"data: "))["OUT"]) == (200, [3.0, 4.0])
    assert ask(client, "GET", "/nope")[0] == 404


# --- Unix-domain sockets ------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Short enough for the system's limit of 107 bytes."""
    folder = Path("/tmp") / f"mps-test-{os.getpid()}-{tmp_path.name[-8:]}"
    folder.mkdir()
    yield folder / "http.sock"
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def serve_unix(serve, models: Path, path: Path, *flags: str) -> Server:
    server = serve(models, flags=[f"--http-address=unix:{path}", *flags], wait_ready=False)
    wait_until(
        lambda: is_ready(lambda: UnixConnection(path)), deadline=READY_SECONDS, what="the socket"
    )
    return server


@pytest.mark.parametrize("mode", ["0600", "0660"])
def test_a_unix_socket_is_served_with_its_mode_and_removed_at_the_end(serve, models, path, mode):
    server = serve_unix(serve, models, path, f"--http-socket-mode={mode}")
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
    with contextlib.closing(UnixConnection(path)) as client:
        check_everything(client)
    assert server.stop() == 0
    assert not path.exists()


def test_several_frontends_share_a_unix_socket_and_one_that_dies_takes_it_again(
    serve, models, path
):
    server = serve_unix(serve, models, path, "--frontends=2")
    before = server.process_named("mps frontend 0")
    server.process_named("mps frontend 1").send_signal(signal.SIGKILL)
    before.kill()
    wait_until(lambda: not before.is_running(), what="it to be dead")
    wait_until(lambda: is_ready(lambda: UnixConnection(path)), what="a frontend to be back")
    assert server.process_named("mps frontend 0").pid != before.pid


def test_the_socket_of_a_killed_server_is_taken_over(serve, models, path):
    serve_unix(serve, models, path).kill_everything()
    assert path.exists()
    serve_unix(serve, models, path)


def test_a_socket_in_use_and_a_file_that_is_none_are_refused(serve, models, path):
    serve_unix(serve, models, path)
    other = serve(models, flags=[f"--http-address=unix:{path}"], wait_ready=False)
    other.expected_exit_code = 1
    assert other.wait_exit() == 1
    text = f"failed to start HTTP service: Unavailable - Socket 'unix:{path}' already in use "
    assert text in other.log_text
    assert is_ready(lambda: UnixConnection(path))
    plain = path.with_name("plain")
    plain.write_text("mine")
    third = serve(models, flags=[f"--http-address=unix:{plain}"], wait_ready=False)
    third.expected_exit_code = 1
    assert third.wait_exit() == 1
    assert "there is another file" in third.log_text
    assert plain.read_text() == "mine"


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of the server and of a client, each its own root."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        make_certificate(folder, name)
    return folder


def tls_flags(certificates: Path, *more: str) -> list[str]:
    return [
        "--http-use-ssl=true",
        f"--http-server-cert={certificates / 'server.pem'}",
        f"--http-server-key={certificates / 'server.key'}",
        *more,
    ]


def trusting(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates / "server.pem")


def tls_client(server: Server, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        "127.0.0.1", server.port, timeout=ANSWER_SECONDS, context=context
    )


def wait_tls(server: Server, context: ssl.SSLContext) -> Server:
    wait_until(
        lambda: is_ready(lambda: tls_client(server, context)), deadline=READY_SECONDS, what="TLS"
    )
    return server


def test_requests_of_every_size_go_through_tls(serve, models, certificates):
    context = trusting(certificates)
    server = wait_tls(serve(models, flags=tls_flags(certificates), wait_ready=False), context)
    with contextlib.closing(tls_client(server, context)) as client:
        for _ in range(3):
            check_everything(client)


def test_plain_http_to_a_tls_port_is_no_answer(serve, models, certificates):
    server = wait_tls(
        serve(models, flags=tls_flags(certificates), wait_ready=False), trusting(certificates)
    )
    with pytest.raises((OSError, http.client.HTTPException)):
        server.get("/v2/health/live")


def test_mutual_tls_wants_a_certificate_of_the_client(serve, models, certificates):
    known = trusting(certificates)
    known.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    flags = tls_flags(
        certificates, "--http-use-ssl-mutual=true",
        f"--http-root-cert={certificates / 'client.pem'}",
    )  # fmt: skip
    server = wait_tls(serve(models, flags=flags, wait_ready=False), known)
    with pytest.raises((OSError, http.client.HTTPException)):
        is_ready(lambda: tls_client(server, trusting(certificates)))


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--http-server-key={folder}/client.key"], "can not be used"),
        (["--http-server-key={folder}/secret.key"], "is encrypted"),
        (["--http-server-cert={folder}/none.pem"], "can not be read"),
    ],
)
def test_certificates_that_can_not_be_used_end_the_start(serve, models, certificates, flags, text):
    """Without a question: nobody is there to type a pass phrase."""
    lock_key(certificates / "server.key", certificates / "secret.key")
    given = [flag.format(folder=certificates) for flag in flags]
    server = serve(models, flags=tls_flags(certificates, *given), wait_ready=False)
    server.expected_exit_code = 1
    assert server.wait_exit() == 1
    assert "failed to start HTTP service" in server.log_text
    assert text in server.log_text
