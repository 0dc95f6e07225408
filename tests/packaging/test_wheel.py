"""A wheel installs into a clean environment and serves there."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mpserve.runtimes.registry import BUILT_IN

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 900
pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS)]


def run(*command: object, cwd: Path) -> str:
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PATH": tools},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
        "import mpserve, mpserve._native, pathlib;"
        "print(pathlib.Path(mpserve.__file__).with_name('py.typed').exists())"
    )
    assert run(installed / "python", "-c", code, cwd=installed) == "True\n"


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
