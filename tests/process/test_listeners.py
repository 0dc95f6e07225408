"""Where a server listens by default, and what it says when it can not listen where it should."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mpserve.codec.grpc_connection import http2_library_fault
from tests.fixtures.pace import within
from tests.fixtures.ports import free_ports
from tests.fixtures.server import ROOT, Server
from tests.fixtures.waiting import wait_until

BURST = 500
NOT_OURS = "192.0.2.1"  # RFC 5737: documentation only
TRANSPORTS = ["aio"] if http2_library_fault() else ["native", "aio"]
SERVE_FLAGS = {
    "HTTP": ("--http-address={}", "--http-port={}"),
    "GRPC": ("--grpc-address={}", "--grpc-port={}"),
    "Metrics": ("--metrics-address={}", "--metrics-port={}"),
}
START = {"HTTP": "HTTP_PORT", "GRPC": "GRPC_PORT", "Metrics": "METRICS_PORT"}


def ends_with(server: Server, line: str) -> None:
    """The server ends by itself, says why in one line, and leaves nothing (the fixtures look)."""
    server.expected_exit_code = None
    assert server.wait_exit(deadline=within(20)) == 1
    assert line in server.log_text
    assert "Traceback" not in server.log_text


@pytest.fixture
def taken():
    """A port on which somebody else listens."""
    (port,) = free_ports(1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        yield port


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("service", SERVE_FLAGS)
def test_a_port_that_is_taken_ends_the_start(serve, repository, taken, service, transport):
    if transport == "aio" and service != "GRPC":
        pytest.skip("the others have one transport")
    _, port_flag = SERVE_FLAGS[service]
    flags = [port_flag.format(taken), f"--grpc-transport={transport}"]
    server = serve(repository.path, flags=flags, wait_ready=False)
    place = f"Socket '127.0.0.1:{taken}' already in use "
    ends_with(server, f"failed to start {service} service: Unavailable - {place}")


@pytest.mark.parametrize("service", SERVE_FLAGS)
def test_an_address_of_another_machine_ends_the_start(serve, repository, service):
    address_flag, _ = SERVE_FLAGS[service]
    flags = ["--metrics-address=127.0.0.1", address_flag.format(NOT_OURS)]
    server = serve(repository.path, flags=flags, wait_ready=False)
    start = f"failed to start {service} service: Unavailable - Socket '{NOT_OURS}:"
    ends_with(server, start)
    reason = server.log_text.split(start)[1].splitlines()[0].partition(" ")[2]
    assert reason == "can not be opened: Cannot assign requested address"


@pytest.mark.parametrize("service", START)
def test_mlservers_ports_that_are_taken_end_the_start(start, repository, taken, service):
    environment = {f"MLSERVER_{START[service]}": str(taken)}
    server = start(repository.path, environment=environment, wait_ready=False)
    place = f"Socket '127.0.0.1:{taken}' already in use "
    ends_with(server, f"failed to start {service} service: Unavailable - {place}")


def listened(pid: int) -> dict[int, set[str]]:
    """Return the addresses of all listeners of a server, by port."""
    found: dict[int, set[str]] = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        for connection in process.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)
    return found


@pytest.mark.parametrize("command", ["serve", "start"])
def test_by_default_it_listens_where_the_peer_does_and_warns(repository, tmp_path, command):
    """All three of them on every interface; the ports are others, or two test runs would meet."""
    ports = free_ports(3)
    by_name = dict(zip(("HTTP", "gRPC", "metrics"), ports, strict=True))
    flags = [f"--{name.lower()}-port={port}" for name, port in by_name.items()]
    words: Callable[[str], list[str]] = {
        "serve": lambda path: [f"--model-repository={path}"],
        "start": lambda path: [path],
    }[command]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mpserve", command, *words(str(repository.path)), *flags],
            cwd=ROOT,
            stdout=file,
            stderr=file,
        )
    try:
        wait_until(lambda: "server.ready" in log.read_text(), deadline=within(20))
        assert listened(process.pid) == {port: {"0.0.0.0"} for port in ports}
    finally:
        process.terminate()
        assert process.wait(within(20)) == 0
    for name, port in by_name.items():
        warning = f"{name} listens on every interface of this machine (0.0.0.0:{port})"
        assert warning in log.read_text()


@pytest.mark.parametrize("service", ["HTTP", "gRPC"])
def test_a_burst_of_connections_waits_until_the_frontend_takes_them(serve, repository, service):
    """Without room in the queue they would be dropped, and tried again after a second or three."""
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) < BURST:
        pytest.skip("this kernel lets fewer connections wait (net.core.somaxconn)")
    server = serve(repository.path, flags=["--frontends=1"])
    frontend = server.process_named("mps frontend 0")
    port = server.port if service == "HTTP" else server.grpc_port
    with contextlib.ExitStack() as held:
        frontend.suspend()
        held.callback(frontend.resume)
        for _ in range(BURST):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=within(2)))
        frontend.resume()
        wait_until(lambda: len(frontend.net_connections("tcp")) > BURST, what="all to be taken")
