"""How a frontend begins and ends: ports, draining, deaths, and what its clients see of them."""

import contextlib
import json
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.fixtures.pace import within
from tests.fixtures.ports import free_ports
from tests.fixtures.repository import Repository
from tests.fixtures.server import Server
from tests.fixtures.teller import in_flight
from tests.fixtures.waiting import wait_until
from tests.protocol.models import write_named


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_named(tmp_path / "models", "slow")


def slow(seconds: float) -> bytes:
    tensor = {"name": "SECONDS", "shape": [1], "datatype": "FP32", "data": [seconds]}
    return json.dumps({"inputs": [tensor]}).encode()


def frontends(server: Server) -> set[psutil.Process]:
    """The processes that listen on the server's port."""
    found = set()
    for process in server.processes():
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            for one in process.net_connections("tcp"):
                if one.laddr.port == server.port and one.status == psutil.CONN_LISTEN:
                    found.add(process)
    return found


def test_the_end_waits_for_requests_in_flight_and_refuses_new_ones(serve, tmp_path):
    models = Repository(tmp_path / "tellers")
    models.add("teller", "m")
    server = serve(models.path)

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=within(2)).close()
        except ConnectionRefusedError:
            return True
        return False

    with in_flight(server, "m") as request:
        server.process.terminate()
        wait_until(is_refused, what="new connections to be refused")
        assert request.outcome is None
        request.let_go()
        assert request.result.status == 200
    assert server.wait_exit() == 0


def test_an_idle_connection_does_not_delay_the_end(serve, repository):
    server = serve(repository)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
        idle.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < within(5)  # not the 30 seconds of the grace
        while idle.recv(1000):
            continue


def test_frontends_share_the_port_and_a_dead_one_comes_back(serve, repository):
    server = serve(repository, flags=["--frontends=2"])
    wait_until(lambda: len(frontends(server)) == 2, what="two frontends")
    victim = frontends(server).pop()
    victim.kill()
    wait_until(lambda: len(frontends(server) - {victim}) == 2, what="another frontend")
    answers = [server.post("/v2/models/slow/infer", slow(0)).status for _ in range(20)]
    assert answers == [200] * 20


@pytest.mark.parametrize("sharing", [True, False])
def test_a_port_that_is_taken_ends_the_start_with_its_name(serve, repository, sharing):
    port, grpc_port, metrics_port = free_ports(3)
    with socket.socket() as taken:
        if sharing:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        server = serve(
            repository,
            flags=[
                f"--http-port={port}",
                f"--grpc-port={grpc_port}",
                f"--metrics-port={metrics_port}",
            ],
            wait_ready=False,
        )
        server.expected_exit_code = 1
        assert server.wait_exit() == 1
    assert f"Socket '127.0.0.1:{port}' already in use" in server.log_text
