"""gRPC over Unix-domain sockets, plain and under TLS, over each transport."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, Calls
from tests.fixtures.server import READY_SECONDS, Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import write_identity

pytestmark = BOTH_TRANSPORTS
VALUES = np.arange(300_000, dtype="<f4")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model."""
    return write_identity(tmp_path_factory.mktemp("listeners") / "models")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Short enough for the system's limit of 107 bytes."""
    folder = Path("/tmp") / f"mps-test-{os.getpid()}-{tmp_path.name[-8:]}"
    folder.mkdir()
    yield folder / "grpc.sock"
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def insecure(path: Path) -> grpc.Channel:
    return grpc.insecure_channel(f"unix:{path}")


def is_ready(path: Path, connect=insecure) -> bool:
    with connect(path) as channel:
        try:
            return bool(Calls(channel)("ServerReady").ready)
        except grpc.RpcError:
            return False


def serve_unix(serve, models: Path, path: Path, *flags: str, connect=insecure) -> Server:
    given = ["--frontends=1", f"--grpc-address=unix:{path}", *flags]
    server = serve(models, flags=given, wait_ready=False)
    wait_until(lambda: is_ready(path, connect), deadline=READY_SECONDS, what="the socket")
    return server


def check_everything(channel: grpc.Channel) -> None:
    calls = Calls(channel)
    tensor = {"name": "IN", "datatype": "FP32", "shape": [len(VALUES)]}
    request = calls.infer_request("m", tensor, raw=(VALUES.tobytes(),))
    assert calls("ModelInfer", request).raw_output_contents[0] == VALUES.tobytes()
    (streamed,) = calls.stream(iter([request]))
    assert streamed.infer_response.raw_output_contents[0] == VALUES.tobytes()
    assert calls("ServerMetadata").name == "triton"


@pytest.mark.parametrize("mode", ["0600", "0660"])
def test_a_unix_socket_is_served_with_its_mode_and_removed_at_the_end(serve, models, path, mode):
    server = serve_unix(serve, models, path, f"--grpc-socket-mode={mode}")
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
    with insecure(path) as channel:
        check_everything(channel)
    assert server.stop() == 0
    assert not path.exists()


def test_a_frontend_that_dies_takes_it_again(serve, models, path, grpc_transport):
    frontends = 2 if grpc_transport == "native" else 1
    server = serve_unix(serve, models, path, f"--frontends={frontends}")
    before = {f"mps frontend {index}" for index in range(frontends)}
    processes = [server.process_named(name) for name in before]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        wait_until(lambda one=process: not one.is_running(), what="it to be gone")
    wait_until(lambda: is_ready(path), what="a frontend to be back")


def test_the_socket_of_a_killed_server_is_taken_over(serve, models, path):
    serve_unix(serve, models, path).kill_everything()
    assert path.exists()
    serve_unix(serve, models, path)


def test_a_socket_in_use_is_refused(serve, models, path):
    serve_unix(serve, models, path)
    other = serve(models, flags=["--frontends=1", f"--grpc-address=unix:{path}"], wait_ready=False)
    other.expected_exit_code = 1
    assert other.wait_exit() == 1
    text = f"failed to start GRPC service: Unavailable - Socket 'unix:{path}' already in use "
    assert text in other.log_text
    assert is_ready(path)


def test_the_portable_transport_can_not_share_it(serve, models, path, grpc_transport):
    flags = ["--frontends=2", f"--grpc-address=unix:{path}"]
    if grpc_transport == "native":
        serve_unix(serve, models, path, *flags)
        return
    server = serve(models, flags=flags, wait_ready=False)
    server.expected_exit_code = 1
    assert server.wait_exit() == 1
    assert f"Socket 'unix:{path}' can not be shared by frontends on grpc.aio" in server.log_text


def test_tls_over_a_unix_socket(serve, models, path, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    credentials = grpc.ssl_channel_credentials(cert.read_bytes())

    def secure(path: Path) -> grpc.Channel:
        options = [("grpc.ssl_target_name_override", "localhost")]
        return grpc.secure_channel(f"unix:{path}", credentials, options)

    flags = ("--grpc-use-ssl=true", f"--grpc-server-cert={cert}", f"--grpc-server-key={key}")
    serve_unix(serve, models, path, *flags, connect=secure)
    with secure(path) as channel:
        check_everything(channel)
