"""A wheel installs into a clean environment and serves there."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import grpc
import pytest

from mpserve.codec.grpc_connection import http2_library_fault
from mpserve.runtimes.registry import BUILT_IN
from tests.fixtures.grpc_calls import Calls

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 900
pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]


def run(*command: object, cwd: Path) -> str:
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment, "PATH": tools},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def nothing_but_the_wheel(monkeypatch):
    """The tree that is tested is on the path of a developer's shell, and would go before it."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return the `bin` of an environment that holds the wheel and its dependencies alone."""
    place = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, ROOT, cwd=place)
    (wheel,) = place.glob("mpserve-*.whl")
    venv.create(place / "venv", with_pip=False)
    run(*pip, "--python", place / "venv", "install", "--quiet", wheel, cwd=place)
    return place / "venv" / "bin"


def test_the_command_is_installed(installed):
    assert run(installed / "mpserve", "--version", cwd=installed).startswith("mpserve, version ")


def test_the_types_and_the_core_are_in_the_wheel(installed):
    code = (
        "import mpserve, mpserve._native, pathlib, sys;"
        "place = pathlib.Path(mpserve.__file__);"
        "print(place.is_relative_to(sys.prefix), place.with_name('py.typed').exists())"
    )
    assert run(installed / "python", "-c", code, cwd=installed) == "True True\n"


def test_the_runtimes_are_found_by_their_entry_points(installed):
    code = (
        "from importlib.metadata import entry_points;"
        "print(sorted(e.name for e in entry_points(group='mpserve.runtimes')))"
    )
    names = run(installed / "python", "-c", code, cwd=installed)
    assert names == f"{sorted(BUILT_IN)}\n"


def test_the_server_starts_answers_and_ends(installed, serve, tmp_path):
    server = serve(tmp_path, python=installed / "python", directory=tmp_path)
    assert server.get("/v2").json()["name"] == "triton"


@pytest.mark.skipif(http2_library_fault() != "", reason="nghttp2 is not installed")
def test_grpc_needs_no_package_where_nghttp2_is_installed(installed, serve, tmp_path):
    code = "import importlib.util; print(importlib.util.find_spec('grpc'))"
    assert run(installed / "python", "-c", code, cwd=installed) == "None\n"
    server = serve(
        tmp_path, flags=["--allow-grpc=true"], python=installed / "python", directory=tmp_path
    )
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert Calls(channel)("ServerMetadata").name == "triton"


RUNTIME = """
import numpy as np
from mpserve.runtimes.estimator import complete_config
from mpserve.runtimes.responses import Answer, NativeResponses, Output, answer_each


class Reverse:
    name = "reverse"
    default_files = ()

    def load(self, context):
        self._responses = NativeResponses()
        return complete_config(context)

    def execute(self, requests):
        return answer_each(requests, self._responses, self._answer)

    def unload(self):
        pass

    def _answer(self, request):
        given = request.inputs()[0].as_numpy()
        return Answer(outputs=[Output(name="reversed", array=np.flip(given))])
"""


def wheel_of_a_runtime(folder: Path) -> Path:
    """Write a wheel that adds the runtime `reverse`, as a user's build would."""
    path = folder / "their_runtime-1.0-py3-none-any.whl"
    information = "their_runtime-1.0.dist-info"
    members = {
        "their_runtime.py": RUNTIME,
        f"{information}/METADATA": "Metadata-Version: 2.1\nName: their-runtime\nVersion: 1.0\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": "[mpserve.runtimes]\nreverse = their_runtime:Reverse\n",
        f"{information}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
    return path


def test_a_package_adds_a_runtime(installed, serve, tmp_path):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    wheel = wheel_of_a_runtime(tmp_path)
    run(*pip, "--python", installed.parent, "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    folder = tmp_path / "models" / "backwards"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text('backend: "reverse"')
    server = serve(tmp_path / "models", python=installed / "python", directory=tmp_path)
    tensor = {"name": "x", "datatype": "INT32", "shape": [3], "data": [1, 2, 3]}
    answer = server.infer("backwards", {"inputs": [tensor]})
    assert answer.json()["outputs"][0]["data"] == [3, 2, 1]
    run(
        *pip,
        "--python",
        installed.parent,
        "uninstall",
        "--quiet",
        "--yes",
        "their-runtime",
        cwd=tmp_path,
    )
