"""mpserve of this work tree, spoken to as Triton is."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.errors import MissingTool
from bench.measuring.cpu import RolePattern
from bench.measuring.server import Launch
from bench.peers.peer import Site
from bench.repositories import Layout
from bench.workshop import PROJECT

DESCRIBE_TIMEOUT_S: Final = 30


class Mpserve:
    """mpserve in the project's `.venv`, or in the running interpreter where there is none."""

    has_repository = True
    has_statistics = True
    roles = (
        RolePattern(text="[mps frontend", role="frontend"),
        RolePattern(text="[mps:", role="worker"),
        RolePattern(text="[mps standby", role="standby"),
        RolePattern(text="[mpserve spawner", role="spawner"),
        RolePattern(text="[mps supervisor", role="supervisor"),
        RolePattern(text="[mpserve", role="root"),
    )

    def __init__(self, *, frontends: int = 1) -> None:
        self.name = "mpserve" if frontends == 1 else f"mpserve-f{frontends}"
        self._frontends = frontends

    @property
    def python(self) -> Path:
        """The interpreter that runs the server and its models."""
        own = PROJECT / ".venv" / "bin" / "python"
        return own if own.exists() else Path(sys.executable)

    def install(self) -> None:
        """Only look: the project's own build installs it."""
        argv = [str(self.python), "-c", "import mpserve.cli.main"]
        ran = subprocess.run(
            argv,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=DESCRIBE_TIMEOUT_S,
            check=False,
        )
        if ran.returncode != 0:
            reason = (ran.stderr.strip().splitlines() or ["no message"])[-1]
            raise MissingTool(
                f"mpserve cannot be started ({reason}); install it with 'pip install -e .'"
            )

    def version(self) -> str:
        """The commit, with `+` when the tree has changes that are not in it."""
        argv = ["git", "describe", "--always", "--dirty=+"]
        ran = subprocess.run(
            argv,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=DESCRIBE_TIMEOUT_S,
            check=False,
        )
        commit = ran.stdout.strip() or "of unknown commit"
        return f"mpserve {commit}, frontends {self._frontends}"

    def layout(self, model: str) -> Layout:
        """As Triton's, but for the classifiers, which have a runtime of their own and need no
        `model.py`: the same folder as MLServer's.
        """
        return Layout.MLSERVER if model.startswith("digits") else Layout.TRITON

    def launch(self, site: Site) -> Launch:
        """Start with Triton's flags."""
        argv = (
            *(str(self.python), "-m", "mpserve", "serve"),
            f"--model-repository={site.repository}",
            "--http-address=127.0.0.1",
            f"--http-port={site.http_port}",
            f"--allow-grpc={str(site.with_grpc).lower()}",
            *(
                ("--grpc-address=127.0.0.1", f"--grpc-port={site.grpc_port}")
                if site.with_grpc
                else ()
            ),
            "--allow-metrics=false",
            f"--frontends={self._frontends}",
            f"--model-control-mode={site.control.value}",
        )
        return Launch(argv=argv, folder=PROJECT)
