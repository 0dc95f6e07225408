"""Every example client runs as its own text says, and prints what it should."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.client_environments import kserve_python, mlserver_scripts
from tests.fixtures.pace import within
from tests.fixtures.server import ROOT, Server

CLIENTS = ROOT / "examples" / "clients"
SUM = [number + 1 for number in range(16)]
DIFFERENCE = [number - 1 for number in range(16)]
SECONDS = within(30)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the examples ask."""
    root = tmp_path_factory.mktemp("examples") / "models"
    shutil.copytree(ROOT / "examples" / "simple", root / "simple")
    return root


@pytest.fixture(scope="module")
def triton(nothing_is_left_behind: None, models: Path) -> Iterator[Server]:
    """What `mpserve serve` makes of it."""
    flags = ["--allow-client-shm=true"]
    with Server.serve(models, flags=flags, log_path=models.parent / "triton.log") as server:
        yield server


@pytest.fixture(scope="module")
def mlserver(nothing_is_left_behind: None, models: Path) -> Iterator[Server]:
    """What `mpserve start` makes of it."""
    with Server.start(models, log_path=models.parent / "mlserver.log") as server:
        yield server


def run(*command: str, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(name: str, place: str) -> list[str]:
    return run(sys.executable, str(CLIENTS / name), place).splitlines()


def test_every_client_has_a_test():
    text = Path(__file__).read_text()
    names = {path.name for path in CLIENTS.iterdir() if path.suffix in {".py", ".sh"}}
    assert len(names) >= 9
    assert {name for name in names if f'"{name}"' not in text} == set()


def test_tritons_client(triton):
    pytest.importorskip("tritonclient.http")
    assert run_python("triton_http.py", triton.address) == [
        f"sum        {SUM}",
        f"difference {DIFFERENCE}",
    ]


def test_tritons_grpc_client(triton):
    pytest.importorskip("tritonclient.grpc")
    assert run_python("triton_grpc.py", triton.grpc_address) == [
        f"sum        {SUM}",
        f"difference {DIFFERENCE}",
    ]


def test_tritons_client_with_shared_memory(triton):
    pytest.importorskip("tritonclient.http")
    assert run_python("triton_shared_memory.py", triton.address) == [
        f"sum        {SUM}",
        f"difference {DIFFERENCE}",
    ]


def test_tritons_asyncio_client(triton):
    pytest.importorskip("tritonclient.http.aio")
    total = 16 * sum(range(32))
    assert run_python("triton_http_aio.py", triton.address) == [f"total {total}"]


def test_tritons_grpc_asyncio_client(triton):
    pytest.importorskip("tritonclient.grpc.aio")
    total = 16 * sum(range(32))
    assert run_python("triton_grpc_aio.py", triton.grpc_address) == [
        f"calls  {total}",
        f"stream {total}",
    ]


@pytest.mark.parametrize("dialect", ["triton", "mlserver"])
def test_kserves_clients(request, dialect):
    python = str(kserve_python())
    server = request.getfixturevalue(dialect)
    command = (python, str(CLIENTS / "kserve_clients.py"), server.url, server.grpc_address)
    assert run(*command, PYTHONPATH="").splitlines() == [f"HTTP {SUM}", f"gRPC {SUM}"]


def test_mlservers_infer_command(mlserver):
    path = f"{mlserver_scripts()}:{os.environ['PATH']}"
    command = ("sh", str(CLIENTS / "mlserver_infer.sh"), mlserver.address)
    answers = [json.loads(line) for line in run(*command, PATH=path, PYTHONPATH="").splitlines()]
    assert sorted(answer["parameters"]["batch_index"] for answer in answers) == list(range(12))
    assert all(answer["outputs"][0]["data"] == SUM for answer in answers)


def test_requests(triton):
    pytest.importorskip("requests")
    assert run_python("plain_requests.py", triton.url) == [
        f"OUTPUT0 {SUM}",
        f"OUTPUT1 {DIFFERENCE}",
        f"generate {SUM}",
    ]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(triton):
    lines = run("sh", str(CLIENTS / "with_curl.sh"), triton.url)
    assert '"name":"simple"' in lines
    assert '"model_version":"1"' in lines
    assert "data: {" in lines
    assert '"state":"READY"' in lines


def test_the_style_of_mlserver(mlserver):
    pytest.importorskip("requests")
    assert run_python("mlserver_style.py", mlserver.url) == [
        "ready: simple",
        f"answer {SUM}",
        f"event  {DIFFERENCE}",
    ]
