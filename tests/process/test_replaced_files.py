"""An upgrade in place takes mpserve's files away: what is started later needs none of them."""

import contextlib
from pathlib import Path

import grpc
import psutil
import pytest

from tests.fixtures.grpc_calls import Calls
from tests.fixtures.installed_copy import copy_mpserve
from tests.fixtures.server import Server
from tests.fixtures.teller import tell
from tests.fixtures.waiting import wait_until


@pytest.fixture
def installed(tmp_path):
    """A folder with a copy of mpserve that may go."""
    folder = tmp_path / "installed"
    copy_mpserve(folder)
    return folder


def lives(server: Server) -> bool:
    with grpc.insecure_channel(server.grpc_address) as channel:
        try:
            return bool(Calls(channel)("ServerReady").ready)
        except grpc.RpcError as error:
            raise AssertionError(error) from error


def test_frontends_and_workers_come_back_without_them(serve, repository, installed):
    repository.add("teller", "m")
    server = serve(
        repository.path,
        flags=["--frontends=2", "--model-control-mode=explicit", "--load-model=m"],
        environment={"PYTHONPATH": str(installed)},
        directory=installed,
    )
    maps = Path(f"/proc/{server.process_named('mps:m').pid}/maps").read_text()
    assert str(installed) in maps, "another mpserve goes before the copy"
    (installed / "mpserve").rename(installed / "gone")
    for _ in range(2):
        old = [server.process_named(f"mps frontend {index}") for index in range(2)]
        old.append(server.process_named("mps:m"))
        for process in old:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda old=old: not any(process.is_running() for process in old))
        wait_until(lambda: server.get("/v2/health/ready").status == 200)
        wait_until(lambda: lives(server))
        wait_until(lambda: tell(server, "m").version == 1)
        repository.add("teller", "n")
        assert server.load("n").status == 200
        assert server.unload("n").status == 200
    server.process_named("mps supervisor").kill()
    wait_until(lambda: "nv_inference_request_success" in server.metrics())
    assert tell(server, "m").version == 1
