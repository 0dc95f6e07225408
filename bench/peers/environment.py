"""A virtual environment for one peer, made once and made anew when its requirements change."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import msgspec

from bench.errors import BenchError
from bench.workshop import WORKSHOP

INSTALL_TIMEOUT_S: Final = 1800


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One call of `pip install`."""

    requirements: tuple[str, ...]
    with_dependencies: bool = True


class Environment:
    """`.bench/NAME/venv` with the packages of `steps`, under the running interpreter."""

    def __init__(self, name: str, steps: tuple[Step, ...]) -> None:
        self._folder = WORKSHOP / name / "venv"
        self._stamp = WORKSHOP / name / "installed.json"
        self._steps = steps

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self._folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        return (
            self._folder
            / "lib"
            / f"python{sys.version_info.major}.{sys.version_info.minor}"
            / "site-packages"
        )

    @property
    def scripts(self) -> Path:
        """Where its programs lie."""
        return self._folder / "bin"

    def is_installed(self) -> bool:
        """Tell whether the requirements and the interpreter are those that were installed."""
        return self._stamp.exists() and self._stamp.read_text() == self._wanted()

    def install(self) -> None:
        """Make the environment when it is not there as wanted. A half-made one is thrown away.

        Raises
        ------
        BenchError
            `pip` failed; the message holds its last lines.
        """
        if self.is_installed():
            return
        self._stamp.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        venv.create(self._folder, with_pip=True)
        for step in self._steps:
            self._pip_install(step)
        self._stamp.write_text(self._wanted())

    def _pip_install(self, step: Step) -> None:
        options = [
            "--quiet",
            "--disable-pip-version-check",
            *(() if step.with_dependencies else ("--no-deps",)),
        ]
        argv = [str(self.python), "-m", "pip", "install", *options, *step.requirements]
        ran = subprocess.run(
            argv, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
        if ran.returncode != 0:
            wanted = " ".join(step.requirements)
            raise BenchError(
                f"pip install {wanted} ended with {ran.returncode}: {ran.stderr[-1000:]}"
            )

    def _wanted(self) -> str:
        steps = [msgspec.to_builtins(step) for step in self._steps]
        return json.dumps({"python": sys.version, "steps": steps})
