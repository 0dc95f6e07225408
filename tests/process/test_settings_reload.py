"""SIGHUP and `mpserve reload`: a running server takes settings that changed, all or none."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from tests.fixtures.certificates import make_certificate
from tests.fixtures.closed_loop import ClosedLoop, Connection
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import within
from tests.fixtures.ports import free_ports
from tests.fixtures.server import ROOT, Server
from tests.fixtures.teller import in_flight, tell, teller_bytes
from tests.fixtures.waiting import wait_until

EXPLICIT = ["--model-control-mode=explicit", "--load-model=m", "--log-format=json"]
RESTRICTED = "/v2/repository/index"


def reload(server: Server) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mpserve", "reload", f"--pid={server.pid}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=within(30),
    )


class SettingsFile:
    """The file that a server is started with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.flag = f"--settings-file={path}"

    def write(self, **values: object) -> None:
        names = {name.replace("_", "-"): value for name, value in values.items()}
        self._path.write_text(json.dumps(names))

    def spoil(self, text: str) -> None:
        self._path.write_text(text)


@pytest.fixture
def settings(tmp_path):
    return SettingsFile(tmp_path / "mpserve.json")


def status_with(server: Server, secret: str) -> int:
    return server.request("POST", RESTRICTED, b"{}", {"admin-key": secret}).status


def grpc_code(server: Server, secret: str) -> grpc.StatusCode:
    with grpc.insecure_channel(server.grpc_address) as channel:
        try:
            Calls(channel).raw(
                "/inference.GRPCInferenceService/RepositoryIndex",
                b"",
                "inference.RepositoryIndexResponse",
                metadata=[("triton-grpc-protocol-admin-key", secret)],
            )
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_under_load_settings_change_and_no_request_fails(serve, repository, settings):
    repository.add("teller", "m")
    first = {
        "http_restricted_api": "model-repository:admin-key=one",
        "grpc_restricted_protocol": "model-repository:admin-key=one",
    }
    settings.write(**first)
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT, "--frontends=2"])
    before = tell(server, "m")
    kept = Connection(server)
    with ClosedLoop(server, teller_bytes("m"), clients=4) as load:
        for secret in ("two", "three"):
            settings.write(
                http_restricted_api=f"model-repository:admin-key={secret}",
                grpc_restricted_protocol=f"model-repository:admin-key={secret}",
                client_idle_timeout_secs=50 if secret == "two" else 60,
                exit_timeout_secs=20,
                model_load_thread_count=2,
            )
            load.wait_answered(by_each=5)
            done = reload(server)
            assert (done.returncode, done.stderr) == (0, "")
            assert {status_with(server, secret) for _ in range(8)} == {200}
            assert {status_with(server, "one") for _ in range(8)} == {403}
            assert grpc_code(server, secret) is grpc.StatusCode.OK
            assert grpc_code(server, "one") is grpc.StatusCode.UNAVAILABLE
            load.wait_answered(by_each=5)
    assert done.stdout.splitlines() == [
        "--client-idle-timeout-secs: changed",
        "--grpc-restricted-protocol: changed",
        "--http-restricted-api: changed",
    ]
    assert load.failed == []
    assert tell(server, "m") == before
    status, _ = kept.exchange(teller_bytes("m"))  # a connection from before
    kept.close()
    assert status == 200


def test_what_may_not_change_is_named_and_nothing_changes(serve, repository, settings):
    repository.add("teller", "m")
    settings.write(http_restricted_api="model-repository:admin-key=one")
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT])
    settings.write(
        http_restricted_api="model-repository,logging:admin-key=two",
        client_idle_timeout_secs=5,
        metrics_endpoint="/elsewhere",
    )
    done = reload(server)
    assert done.returncode == 1
    assert done.stderr == (
        "mpserve reload: nothing changed: --http-restricted-api, --metrics-endpoint can not change "
        "while the server runs: start it anew, or undo the change\n"
    )
    assert status_with(server, "one") == 200
    assert server.events("settings.refused")
    assert "nv_inference" in server.metrics()
    for text in ('{"no-such-flag": 1}', '{"frontends": "many"}', "[", '{"http-port": [1, 2]}'):
        settings.spoil(text)
        done = reload(server)
        assert done.returncode == 1
        assert "mpserve.json" in done.stderr
    settings.write(http_restricted_api="model-repository:admin-key=three")
    assert reload(server).stdout == "--http-restricted-api: changed\n"
    assert status_with(server, "three") == 200


def test_a_supervisor_that_takes_over_goes_on_by_what_was_taken(serve, repository, settings):
    repository.add("teller", "m")
    settings.write(http_restricted_api="model-repository:admin-key=one", exit_timeout_secs=30)
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT])
    settings.write(http_restricted_api="model-repository:admin-key=two", exit_timeout_secs=31)
    assert reload(server).returncode == 0
    settings.spoil("gone")  # only a reading may take it
    server.process_named("mps supervisor").kill()
    server.process_named("mps frontend 0").kill()
    wait_until(lambda: status_with(server, "two") == 200, deadline=within(10))
    assert reload(server).returncode == 1
    settings.write(http_restricted_api="model-repository:admin-key=two", exit_timeout_secs=31)
    assert reload(server).stdout == "nothing changed\n"
    assert server.stop() == 0
    assert server.events("server.stopping", exit_timeout_secs=31)


def test_a_signal_is_not_lost_when_the_supervisor_dies(serve, repository, settings):
    repository.add("teller", "m")
    settings.write(exit_timeout_secs=30)
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT])
    settings.write(exit_timeout_secs=29)
    supervisor = server.process_named("mps supervisor")
    supervisor.suspend()
    server.process.send_signal(signal.SIGHUP)
    supervisor.kill()
    wait_until(lambda: server.events("settings.taken", changed="--exit-timeout-secs"))


def test_signals_while_models_of_the_start_load_are_heeded_once_they_are_there(
    serve, repository, settings
):
    repository.add("teller", "m", parameters={"load_seconds": "1"})
    settings.write(exit_timeout_secs=30)
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT], wait_ready=False)
    wait_until(lambda: server.processes_named("mps:m"), what="a worker that loads")
    settings.write(exit_timeout_secs=29)
    for _ in range(3):
        server.process.send_signal(signal.SIGHUP)
    server.wait_ready()
    wait_until(lambda: server.events("settings.taken", changed="--exit-timeout-secs"))
    assert tell(server, "m").version == 1
    assert server.stop() == 0
    assert server.events("server.stopping", exit_timeout_secs=29)


def test_a_signal_while_the_server_ends_changes_nothing(serve, repository, settings):
    repository.add("teller", "m")
    settings.write(exit_timeout_secs=30)
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT])
    with in_flight(server, "m") as request:
        server.process.terminate()
        wait_until(lambda: server.events("server.stopping"))
        settings.spoil("no JSON")
        server.process.send_signal(signal.SIGHUP)
        request.let_go()
        assert request.result.status == 200
    assert server.wait_exit() == 0
    assert not server.events("settings.refused")


def test_polling_follows_its_new_interval(serve, repository, settings):
    repository.add("teller", "m")
    settings.write(repository_poll_secs=0)
    flags = [settings.flag, "--model-control-mode=poll", "--log-format=json"]
    server = serve(repository.path, flags=flags)
    settings.write(repository_poll_secs=1)
    assert reload(server).stdout == "--repository-poll-secs: changed\n"
    repository.add("teller", "n")
    wait_until(lambda: server.get("/v2/models/n/ready").status == 200, deadline=within(10))


def served_certificate(port: int) -> bytes:
    """Return what a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=within(10)) as plain,
        context.wrap_socket(plain) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_new_connections_are_shown_the_new_certificate(serve, repository, tmp_path):
    repository.add("teller", "m")
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    used, key = tmp_path / "used.pem", tmp_path / "used.key"

    def use(certificate: Path) -> None:
        shutil.copy(certificate, used)
        shutil.copy(certificate.with_suffix(".key"), key)

    use(old)
    listeners = ("http", "grpc")
    tls = [
        f"--{one}-{what}"
        for one in listeners
        for what in ("use-ssl=true", f"server-cert={used}", f"server-key={key}")
    ]
    server = serve(repository.path, flags=[*tls, "--frontends=2"], wait_ready=False)
    ports = (server.port, server.grpc_port)
    wait_until(lambda: "server.ready" in server.log_text, deadline=within(20))
    context = ssl.create_default_context(cafile=old)
    kept = http.client.HTTPSConnection(
        "localhost", server.port, context=context, timeout=within(10)
    )
    kept.request("GET", "/v2/health/ready")
    assert kept.getresponse().read() == b""
    assert {served_certificate(port) for port in ports} == {der(old)}
    shutil.copy(new, used)  # the key is still the old one
    done = reload(server)
    assert done.returncode == 1
    assert "used.pem" in done.stderr
    assert {served_certificate(port) for port in ports} == {der(old)}
    use(new)
    done = reload(server)
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing changed\n", "")
    assert {served_certificate(port) for port in ports for _ in range(8)} == {der(new)}
    kept.request("GET", "/v2/health/ready")  # by what it began with
    assert kept.getresponse().status == 200
    kept.close()


def test_grpc_aio_says_that_it_keeps_its_certificate(serve, repository, settings, tmp_path):
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    tls = [
        "--grpc-transport=aio",
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={old}",
        f"--grpc-server-key={old.with_suffix('.key')}",
    ]
    settings.write(exit_timeout_secs=30)
    server = serve(repository.path, flags=[settings.flag, *tls])
    settings.write(exit_timeout_secs=20)
    done = reload(server)
    assert (done.returncode, done.stdout) == (0, "--exit-timeout-secs: changed\n")
    shutil.copy(new, old)
    shutil.copy(new.with_suffix(".key"), old.with_suffix(".key"))
    settings.write(exit_timeout_secs=10)
    done = reload(server)
    assert (done.returncode, done.stdout) == (1, "--exit-timeout-secs: changed\n")
    assert "grpc.aio does not read the certificates of gRPC again" in done.stderr


def test_the_log_goes_on_in_a_new_file_when_the_old_one_was_moved(serve, repository, tmp_path):
    repository.add("teller", "m")
    path, moved = tmp_path / "log", tmp_path / "log.1"
    server = serve(repository.path, flags=[*EXPLICIT, f"--log-file={path}"])
    path.rename(moved)
    assert reload(server).returncode == 0
    assert server.load("m").status == 200
    server.unload("m")
    wait_until(lambda: "model.withdrawn" in path.read_text())
    before = moved.read_text()

    def is_let_go() -> bool:
        for process in server.processes():  # the worker may end meanwhile
            fds = [str(fd.resolve()) for fd in Path(f"/proc/{process.pid}/fd").iterdir()]
            assert str(moved) not in fds, process
        return True

    wait_until(is_let_go)
    assert server.stop() == 0
    assert "server.ended" in path.read_text()
    assert moved.read_text() == before


def test_the_root_writes_its_lines_as_the_settings_say_now(serve, repository, settings):
    settings.write(log_format="default")
    server = serve(repository.path, flags=[settings.flag])
    settings.write(log_format="json")
    assert reload(server).returncode == 0
    server.process_named("mps supervisor").kill()
    wait_until(lambda: server.events("supervisor.took_over"), deadline=within(10))
    assert server.events("supervisor.died")


def test_mlservers_settings_are_read_again(start, repository):
    repository.add("teller", "m")
    file = repository.path / "settings.json"
    file.write_text(json.dumps({"debug": False}))
    server = start(repository.path, flags=["--log-format=json"])
    file.write_text(json.dumps({"debug": True}))
    done = reload(server)
    assert done.returncode == 0, done.stderr
    assert "--log-verbose: changed" in done.stdout
    wait_until(lambda: server.get("/v2/health/ready").status == 200)
    file.write_text(json.dumps({"debug": True, "server_name": "another"}))
    done = reload(server)
    assert done.returncode == 1
    assert "--id" in done.stderr


def test_the_command_says_when_there_is_nobody(serve, repository):
    done = subprocess.run(
        [sys.executable, "-m", "mpserve", "reload", f"--pid={os.getpid()}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"mpserve reload: there is no server of this user here with pid {os.getpid()}\n"
    )


def test_the_service_manager_is_told(serve, repository, settings, manager):
    repository.add("teller", "m")
    settings.write(exit_timeout_secs=30)
    environment = {"NOTIFY_SOCKET": str(manager.path)}
    server = serve(repository.path, flags=[settings.flag], environment=environment)
    wait_until(lambda: "READY=1" in manager.told())
    begun = time.monotonic_ns() // 1000
    settings.write(exit_timeout_secs=20)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: manager.told().count("READY=1") == 2)
    told = manager.told()
    at = told.index("RELOADING=1")
    name, _, moment = told[at + 1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert begun <= int(moment) <= time.monotonic_ns() // 1000
    assert told[at + 2 :][:2] == [
        "READY=1",
        "STATUS=serving; settings read again: changed --exit-timeout-secs",
    ]
    settings.write(frontends=2)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: manager.told().count("READY=1") == 3)
    assert "nothing changed: --frontends can not change" in manager.told()[-1]


def test_a_terminal_that_goes_ends_the_server(repository, tmp_path):
    """A hang-up of the terminal it was started from is the end, as it always was."""
    repository.add("teller", "m")
    log = tmp_path / "log"
    words = ["serve", f"--model-repository={repository.path}", f"--log-file={log}"]
    ports = [f"--http-port={free_ports(1)[0]}", "--allow-grpc=false", "--allow-metrics=false"]
    terminal, own_end = os.openpty()
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    process = subprocess.Popen(
        [
            *[sys.executable, "-c", f"{take}; os.execv(sys.argv[1], sys.argv[1:])"],
            *[sys.executable, "-m", "mpserve", *words, *ports],
        ],
        cwd=ROOT,
        stdin=own_end,
        stdout=own_end,
        stderr=own_end,
        start_new_session=True,
    )
    os.close(own_end)
    wait_until(lambda: "server.ready" in log.read_text(), deadline=within(20))
    process.send_signal(signal.SIGHUP)  # the terminal is there
    wait_until(lambda: "settings.taken" in log.read_text(), deadline=within(10))
    os.close(terminal)
    assert process.wait(within(20)) == 0


def test_traces_do_not_go_into_a_file_of_somebodys_own(serve, repository, settings, tmp_path):
    repository.add("teller", "m")
    settings.write(trace_config=["level=TIMESTAMPS", "rate=1", f"triton,file={tmp_path}/t.json"])
    server = serve(repository.path, flags=[settings.flag, *EXPLICIT])
    mine = tmp_path / "mine.json"
    mine.write_text('{"mine": 1}')
    settings.write(trace_config=["level=TIMESTAMPS", "rate=1", f"triton,file={mine}"])
    done = reload(server)
    assert done.returncode == 1
    assert (
        "mine.json: the file holds something else than traces; give a file that can be"
        in done.stderr
    )
    tell(server, "m")
    assert mine.read_text() == '{"mine": 1}'
    wait_until(lambda: (tmp_path / "t.json").read_text().endswith("]"))
