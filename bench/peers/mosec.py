"""mosec: a Rust HTTP front with Python workers, JSON of its own instead of the V2 protocol."""

from pathlib import Path
from typing import Final

from bench.cpu import RolePattern
from bench.peers.environment import Environment, Step
from bench.peers.peer import Site
from bench.repositories import Layout
from bench.server import Launch

MOSEC: Final = "mosec==0.9.8"
PROGRAM: Final = """\
import numpy as np
from mosec import Server, Worker


class AddOne(Worker):
    def forward(self, request):
        x = np.asarray(request["data"], np.float32)
        return {"data": (x + 1).tolist()}


if __name__ == "__main__":
    server = Server()
    server.append_worker(AddOne, num=1)
    server.run()
"""


class Mosec:
    """One worker, all else by default."""

    name = "mosec"
    has_repository = False
    roles = (
        RolePattern(text="bin/mosec", role="frontend"),
        RolePattern(text="resource_tracker", role="other"),
        RolePattern(text="multiprocessing", role="worker"),
        RolePattern(text="python", role="worker"),
    )

    def __init__(self) -> None:
        self._environment = Environment("mosec", (Step(requirements=(MOSEC, "numpy")),))

    @property
    def python(self) -> Path:
        """The interpreter it runs under."""
        return self._environment.python

    def install(self) -> None:
        """Install it."""
        self._environment.install()

    def version(self) -> str:
        """The package."""
        return MOSEC

    def layout(self, model: str) -> Layout:  # noqa: ARG002  # it has no repository
        """Any: what lies in the repository is not read."""
        return Layout.TRITON

    def launch(self, site: Site) -> Launch:
        """Write the program that is the server, and start it."""
        program = site.scratch / "mosec_server.py"
        program.write_text(PROGRAM)
        argv = (str(self.python), str(program), "--address", "127.0.0.1")
        return Launch(
            argv=(*argv, "--port", str(site.http_port)), folder=site.scratch, ready_path="/"
        )
