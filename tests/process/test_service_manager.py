"""A service manager starts the server, is told how it goes, and lends it a socket."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import grpc
import pytest

from mpserve.cli.systemd import UNITS
from mpserve.codec.grpc_connection import http2_library_fault
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import full_or, within
from tests.fixtures.ports import free_ports
from tests.fixtures.server import Server
from tests.fixtures.teller import ask, tell
from tests.fixtures.waiting import wait_until

ACTIVATED = """
import os, sys
names = ["http", "grpc", "metrics"]
fds = [os.dup(int(fd)) for fd in sys.argv[1].split(",")]
for place, fd in enumerate(fds):
    os.dup2(fd, 100 + place)
for place in range(len(fds)):
    os.dup2(100 + place, 3 + place)
os.environ.update(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(names)
)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_it_is_told_of_the_start_the_end_and_that_all_is_well(serve, repository, manager):
    repository.add("teller", "m")
    server = serve(
        repository.path,
        environment={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "30000000"},
    )
    wait_until(lambda: "READY=1" in manager.told())
    wait_until(lambda: "STATUS=serving, 1 models at the start" in manager.told())
    wait_until(lambda: manager.told().count("WATCHDOG=1") >= 2)
    supervisor = server.process_named("mps supervisor")
    supervisor.kill()
    seen = manager.told().count("WATCHDOG=1")
    wait_until(lambda: manager.told().count("WATCHDOG=1") > seen + 1)
    assert manager.told().count("READY=1") == 1
    assert "STOPPING=1" not in manager.told()
    assert server.stop() == 0
    wait_until(lambda: "STOPPING=1" in manager.told())


@pytest.fixture
def lent():
    """Sockets of HTTP, gRPC and metrics."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(3)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1024)
        yield listeners


def activated(serve, repository, lent, **options):
    fds = [listener.fileno() for listener in lent]
    server = serve(
        repository.path,
        prefix=[sys.executable, "-c", ACTIVATED, ",".join(map(str, fds))],
        pass_fds=fds,
        wait_ready=False,
        **options,
    )
    server.port, server.grpc_port, server.metrics_port = (
        listener.getsockname()[1] for listener in lent
    )
    return server


def test_a_lent_socket_is_served_and_left_open(serve, repository, lent):
    repository.add("teller", "m")
    server = activated(serve, repository, lent, flags=["--frontends=2"])
    server.wait_ready()
    assert tell(server, "m").version == 1
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert Calls(channel)("ServerLive").live
    assert "nv_inference_request_success" in server.metrics()
    server.process_named("mps supervisor").kill()  # the next one has the metrics' socket, too
    wait_until(lambda: "nv_inference_request_success" in server.metrics())
    assert server.stop() == 0
    for listener in lent:  # they wait for the next server
        socket.create_connection(listener.getsockname(), timeout=within(5)).close()


class Clients:
    """Clients of the first of some servers, who go on until the end of a `with` block.

    Over gRPC one keeps his channel, or has a connection for each call.
    """

    def __init__(self, server: Server, *, keeps_channel: bool = True) -> None:
        self._server = server
        self._stop = threading.Event()
        self.statuses: list[int | str] = []
        self.lives: list[bool | str] = []
        self._threads = [
            *(threading.Thread(target=self._ask_on) for _ in range(3)),
            threading.Thread(target=self._call_on if keeps_channel else self._call_anew),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(within(20))

    def wait_answered(self) -> None:
        """Return when some more have been answered, by whoever serves now."""
        before, lives = len(self.statuses), len(self.lives)
        wait_until(
            lambda: len(self.statuses) > before + 20 and len(self.lives) > lives + 1,
            deadline=within(10),
        )

    def _ask_on(self) -> None:
        """A connection for each request."""
        while not self._stop.is_set():
            try:
                self.statuses.append(ask(self._server, "m").status)
            except OSError as error:
                self.statuses.append(repr(error))

    def _call_on(self) -> None:
        """One channel, which goes to the next server when the one it has ends."""
        with grpc.insecure_channel(self._server.grpc_address) as channel:
            calls = Calls(channel)
            while not self._stop.is_set():
                try:
                    self.lives.append(calls("ServerLive").live)
                except grpc.RpcError as error:
                    self.lives.append(repr(error))

    def _call_anew(self) -> None:
        """A connection for each call."""
        while not self._stop.is_set():
            own = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(self._server.grpc_address, options=own) as channel:
                try:
                    self.lives.append(Calls(channel)("ServerLive").live)
                except grpc.RpcError as error:
                    self.lives.append(repr(error))


REPLACEMENTS = int(full_or(10, 3))


def test_a_server_is_replaced_by_another_without_a_failed_request(serve, repository, lent):
    repository.add("teller", "m")
    old = activated(serve, repository, lent)
    old.wait_ready()
    with Clients(old) as clients:
        for _ in range(REPLACEMENTS):
            new = activated(serve, repository, lent)
            wait_until(lambda new=new: new.processes_named("mps frontend 0"), deadline=within(20))
            wait_until(lambda new=new: "server.ready" in new.log_text, deadline=within(20))
            assert old.stop() == 0
            clients.wait_answered()
            old = new
    assert set(clients.statuses) == {200}
    assert set(clients.lives) == {True}


@pytest.mark.parametrize("transport", ["aio"] if http2_library_fault() else ["native", "aio"])
def test_a_server_is_replaced_by_another_on_its_port_without_a_failed_request(
    serve, repository, transport
):
    """Each has sockets of its own on the same ports, also where the kernel moves no connection.

    grpcio may cancel a call that comes on an open channel in the moment of the end.
    """
    repository.add("teller", "m")
    port, grpc_port = free_ports(2)
    flags = [
        f"--http-port={port}",
        f"--grpc-port={grpc_port}",
        "--reuse-http-port=true",
        "--reuse-grpc-port=true",
        "--allow-metrics=false",
        "--frontends=2",
        f"--grpc-transport={transport}",
    ]

    def started() -> Server:
        server = serve(repository.path, flags=flags, wait_ready=False)
        server.port, server.grpc_port = port, grpc_port
        wait_until(lambda: "server.ready" in server.log_text, deadline=within(20))
        return server

    old = started()
    with Clients(old, keeps_channel=transport == "native") as clients:
        for _ in range(REPLACEMENTS):
            new = started()
            assert old.stop() == 0
            clients.wait_answered()
            old = new
    assert set(clients.statuses) == {200}
    assert set(clients.lives) == {True}


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or shutil.which("systemd-socket-activate") is None,
    reason="the package systemd is not installed",
)


def printed(unit: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "mpserve", "systemd", "print", unit],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@needs_systemd
def test_systemd_takes_the_units_and_calls_the_service_safe(tmp_path):
    for unit in UNITS:
        assert "@" not in printed(unit).replace("@system-service", "")
    done = subprocess.run(
        [sys.executable, "-m", "mpserve", "systemd", "install", "--directory", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "systemctl" in done.stdout
    units = [str(tmp_path / unit) for unit in UNITS]
    verified = subprocess.run(
        check=False,
        args=["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
    )
    complaints = [line for line in verified.stderr.splitlines() if str(tmp_path) in line]
    assert complaints == []
    rated = subprocess.run(
        check=False,
        args=["systemd-analyze", "security", "--offline=true", "--threshold=40", units[0]],
        capture_output=True,
        text=True,
    )
    assert rated.returncode == 0, rated.stdout  # 40: "OK"


def connects(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=within(5)).close()
    return True


@needs_systemd
def test_it_is_started_by_the_first_connection(tmp_path, repository):
    repository.add("teller", "m")
    port, grpc_port, metrics_port = free_ports(3)
    command = [sys.executable, "-m", "mpserve", "serve", f"--model-repository={repository.path}"]
    ports = [f"--grpc-port={grpc_port}", f"--metrics-port={metrics_port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "systemd-socket-activate",
                f"--listen=127.0.0.1:{port}",
                "-E",
                "PYTHONPATH",
                *command,
                *ports,
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            start_new_session=True,
        )
    try:
        wait_until(lambda: connects(port))

        def is_ready() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/v2/health/ready")
                return connection.getresponse().status == 200
            finally:
                connection.close()

        wait_until(is_ready, deadline=within(20))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(within(20)) == 0, (tmp_path / "log").read_text()
