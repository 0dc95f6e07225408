"""LitServe: FastAPI with Python workers behind queues; JSON of its own, not the V2 protocol."""

from pathlib import Path
from typing import Final

from bench.cpu import RolePattern
from bench.peers.environment import Environment, Step
from bench.peers.peer import Site
from bench.repositories import Layout
from bench.server import Launch

LITSERVE: Final = "litserve==0.2.19"
PROGRAM: Final = """\
import sys

import litserve
import numpy as np


class AddOne(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return np.asarray(request["data"], np.float32)

    def predict(self, x):
        return x + 1

    def encode_response(self, output):
        return {"data": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(AddOne(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
"""


class LitServe:
    """One worker, all else by default."""

    name = "litserve"
    has_repository = False
    roles = (
        RolePattern(text="resource_tracker", role="other"),
        RolePattern(text="multiprocessing", role="worker"),
        RolePattern(text="python", role="frontend"),
    )

    def __init__(self) -> None:
        self._environment = Environment("litserve", (Step(requirements=(LITSERVE, "numpy")),))

    @property
    def python(self) -> Path:
        """The interpreter it runs under."""
        return self._environment.python

    def install(self) -> None:
        """Install it."""
        self._environment.install()

    def version(self) -> str:
        """The package."""
        return LITSERVE

    def layout(self, model: str) -> Layout:  # noqa: ARG002  # it has no repository
        """Any: what lies in the repository is not read."""
        return Layout.TRITON

    def launch(self, site: Site) -> Launch:
        """Write the program that is the server, and start it."""
        program = site.scratch / "litserve_server.py"
        program.write_text(PROGRAM)
        return Launch(
            argv=(str(self.python), str(program), str(site.http_port)),
            folder=site.scratch,
            ready_path="/health",
        )
