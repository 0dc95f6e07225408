"""`--worker-user`: models run as another user, who can touch nothing of the server's."""

import errno
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from tests.fixtures.grpc_calls import Calls
from tests.fixtures.installed_copy import copy_mpserve, copy_requirements
from tests.fixtures.repository import Repository
from tests.fixtures.scripted import run_script
from tests.fixtures.server import STANDBY, Server
from tests.fixtures.waiting import wait_until

SYSTEMS_PYTHON = Path("/usr/bin/python3")
USER = pwd.getpwnam("nobody")
EXPLICIT = ["--model-control-mode=explicit", "--log-format=json"]
INPUT = {"name": "INPUT0", "datatype": "FP32"}
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Place:
    """A folder that everybody can read, with mpserve, what it needs and a repository in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.installed = folder / "installed"
        copy_mpserve(self.installed)
        packages = folder / "packages"
        copy_requirements(packages)
        self.repository = Repository(folder / "models")
        self.packages = str(packages)
        self.environment = {"PYTHONPATH": f"{self.installed}:{self.packages}"}

    def python(self) -> Path | None:
        """Return a Python of our version with which the user can import this copy."""
        code = "import sys, mpserve, numpy; print(*sys.version_info[:2], mpserve.__file__)"
        wanted = f"{sys.version_info.major} {sys.version_info.minor} {self.installed}/"
        for python in (Path(sys.executable), SYSTEMS_PYTHON):
            with suppress(OSError):
                done = subprocess.run(
                    [python, "-c", code],
                    cwd="/",
                    check=False,
                    capture_output=True,
                    text=True,
                    user=USER.pw_uid,
                    group=USER.pw_gid,
                    env={**os.environ, **self.environment},
                )
                if done.stdout.startswith(wanted):
                    return python
        return None


@pytest.fixture(scope="module")
def installed() -> Iterator[Place]:
    place = Place(Path(tempfile.mkdtemp(prefix="mpserve-test-")))
    try:
        if place.python() is None:
            pytest.skip("the user can not read any Python of our version")
        yield place
    finally:
        shutil.rmtree(place.folder)


@pytest.fixture
def place(installed) -> Place:
    shutil.rmtree(installed.repository.path.with_name("models-aside"))
    shutil.rmtree(installed.repository.path)
    installed.repository = Repository(installed.folder / "models")
    return installed


@pytest.fixture
def begin(serve, place) -> Callable[..., Server]:
    def begin(*flags: str, **options: object) -> Server:
        return serve(
            place.repository.path,
            flags=["--worker-user=nobody", *EXPLICIT, *flags],
            environment=place.environment,
            directory=place.installed,
            python=place.python(),
            **options,
        )

    return begin


RIGHTS = """
import ctypes, os, socket
def outcome(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
def listens(fd):
    try:
        with socket.socket(fileno=os.dup(fd)) as one:
            return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
def memory(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
pids = %s
status = open("/proc/self/status").read()
return {
    "ids": [*os.getresuid(), *os.getresgid(), *os.getgroups()],
    "home": os.environ["HOME"],
    "capabilities": [line.split()[1] for line in status.splitlines() if line.startswith("Cap")],
    "kill": sorted({outcome(lambda: os.kill(pid, 9)) for pid in pids}),
    "trace": sorted({outcome(lambda: trace(pid)) for pid in pids}),
    "memory": sorted({outcome(lambda: memory(pid)) for pid in pids}),
    "root": outcome(lambda: os.setuid(0)),
    "listeners": [fd for fd in map(int, os.listdir("/proc/self/fd")) if listens(fd)],
}
"""


def test_a_model_has_another_users_rights_and_none_over_the_server(begin, place):
    place.repository.add("scripted", "m")
    server = begin("--load-model=m", f"--grpc-address=unix:{place.folder}/grpc.sock")
    worker = server.process_named("mps:m")
    others = [one.pid for one in server.processes() if one.pid != worker.pid]
    assert len(others) >= 4  # root, supervisor, spawner, frontend
    seen = run_script(server, "m", RIGHTS % others)
    ids = {USER.pw_uid, USER.pw_gid}
    assert set(seen["ids"]) <= ids | set(os.getgrouplist("nobody", USER.pw_gid))
    assert seen["ids"][:3] == [USER.pw_uid] * 3
    assert seen["home"] == USER.pw_dir
    effective_and_permitted = seen["capabilities"][1:3]
    assert [int(one, 16) for one in effective_and_permitted] == [0, 0]
    assert seen["kill"] == seen["trace"] == [errno.EPERM]
    assert seen["memory"] == [errno.EACCES]
    assert seen["root"] == errno.EPERM
    assert seen["listeners"] == []
    assert {one.pid for one in server.processes()} >= set(others)
    with grpc.insecure_channel(f"unix:{place.folder}/grpc.sock") as channel:
        assert Calls(channel)("ServerLive").live
    frontend = server.process_named("mps frontend 0")
    assert frontend.uids().real == os.getuid()
    assert not server.processes_named(STANDBY), "none of it could become a worker"


def test_segments_are_of_the_workers_group_and_of_nobody_else(begin, place):
    place.repository.add("scripted", "m")
    server = begin("--load-model=m")
    run_script(server, "m", "return 1")
    shared = 0
    for path in map(Path, server.segments()):
        status = path.stat()
        if path.name.endswith("-owner") or status.st_uid == USER.pw_uid:
            assert status.st_mode & 0o777 == 0o600, path
        else:
            assert (status.st_uid, status.st_gid) == (0, USER.pw_gid), path
            assert status.st_mode & 0o777 == 0o660, path
            shared += 1
    assert shared


def test_everything_that_models_do_works(begin, place):
    repository = place.repository
    repository.add("identity", "big")
    repository.add("scripted", "a")
    repository.add("scripted", "b")
    repository.add(
        "scripted",
        "twins",
        config="instance_group [ { count: 2 } ]",
        parameters={"MPSERVE_SHARE_WEIGHTS": "true"},
    )
    environment = place.folder / "environment"
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([place.python(), "-m", "venv", "--without-pip", environment], check=True)
    apart = {"EXECUTION_ENV_PATH": str(environment)}
    repository.add("scripted", "apart", parameters=apart)
    server = begin("--load-model=*", f"--grpc-address=unix:{place.folder}/grpc.sock")
    values = list(range(300_000))
    answer = server.infer("big", {"inputs": [{**INPUT, "shape": [len(values)], "data": values}]})
    assert answer.status == 200, answer.body[:300]
    assert answer.json()["outputs"][0]["data"] == values
    where = "import os; return [os.getuid(), os.getpid()]"
    assert run_script(server, "a", f"return call('b', {where!r})")[0] == USER.pw_uid
    assert run_script(server, "twins", where)[0] == USER.pw_uid
    assert run_script(server, "apart", where)[0] == USER.pw_uid
    twins = server.processes_named("mps:twins")
    assert len(twins) == 2
    twins[0].kill()  # the template, another user too, forks it again
    wait_until(lambda: len(set(server.processes_named("mps:twins")) - set(twins)) == 1)
    content = b64encode((repository.path / "a" / "1" / "model.py").read_bytes()).decode()
    config = json.dumps(server.get("/v2/models/a/config").json())
    answer = server.load(
        "other", **{"config": config.replace('"a"', '"other"'), "file:1/model.py": content}
    )
    assert answer.status == 200, answer
    assert run_script(server, "other", where)[0] == USER.pw_uid


def test_a_supervisor_that_takes_over_has_its_workers_and_hears_them(begin, place):
    place.repository.add("scripted", "m")
    server = begin("--load-model=m")
    before = run_script(server, "m", "import os; return os.getpid()")
    supervisor = server.process_named("mps supervisor")
    supervisor.kill()
    supervisor.wait(10)
    code = (
        "import os, sys; print('said after all', file=sys.stderr, flush=True); return os.getpid()"
    )
    wait_until(lambda: server.index()[0].get("state") == "READY")
    assert run_script(server, "m", code) == before
    wait_until(lambda: "said after all" in server.log_text)
    server.process_named("mpserve spawner").kill()
    server.process_named("mps:m").kill()
    whose = "import os; return os.getuid()"
    wait_until(lambda: run_script(server, "m", whose) == USER.pw_uid, what="the next worker")


def test_a_model_that_the_user_can_not_read_is_not_loaded_and_it_is_said_why(begin, place):
    folder = place.repository.add("scripted", "m")
    (folder / "1" / "model.py").chmod(0o600)
    server = begin()
    answer = server.load("m")
    assert answer.status == 400
    assert "Permission denied" in answer.json()["error"]
    assert "nobody" in answer.json()["error"]
    (folder / "1" / "model.py").chmod(0o644)
    assert server.load("m").status == 200


@pytest.mark.parametrize(
    ("become", "flags", "complaint"),
    [
        (True, [], "only root can start workers as another user"),
        (False, ["--worker-user=nobody-of-this-name"], "there is no user 'nobody-of-this-name'"),
        (False, ["--worker-user=root"], "that is root; name a user with fewer rights"),
        (False, ["--allow-client-shm=true"], "can not be used with --worker-user"),
    ],
)
def test_a_start_that_can_not_do_it_says_so(begin, place, become, flags, complaint):
    code = (
        f"os.setgid({USER.pw_gid}); os.setuid({USER.pw_uid}); os.execv(sys.argv[1], sys.argv[1:])"
    )
    prefix = [sys.executable, "-c", f"import os, sys; {code}"] if become else []
    server = begin(*flags, prefix=prefix, wait_ready=False)
    server.expected_exit_code = None
    assert server.wait_exit() == 1
    assert complaint in server.log_text


def test_a_user_who_can_not_read_mpserve_is_told_at_the_start(serve, place):
    hidden = place.folder / "hidden"
    shutil.copytree(place.installed, hidden / "installed")
    hidden.chmod(0o700)
    server = serve(
        place.repository.path,
        flags=["--worker-user=nobody"],
        environment={"PYTHONPATH": f"{hidden / 'installed'}:{place.packages}"},
        directory=hidden / "installed",
        python=place.python(),
        wait_ready=False,
    )
    server.expected_exit_code = None
    assert server.wait_exit() == 1
    assert f"that user can not read '{hidden / 'installed'}'" in server.log_text
