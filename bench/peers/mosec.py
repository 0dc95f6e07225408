"""mosec: a Rust HTTP front with Python workers, JSON of its own instead of the V2 protocol."""

from typing import Final

from bench.measuring.cpu import RolePattern
from bench.peers.program import PORT, Library

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

MOSEC: Final = Library(
    name="mosec",
    requirement="mosec==0.9.8",
    program=PROGRAM,
    arguments=("--address", "127.0.0.1", "--port", PORT),
    ready_path="/",
    roles=(
        RolePattern(text="bin/mosec", role="frontend"),
        RolePattern(text="resource_tracker", role="other"),
        RolePattern(text="multiprocessing", role="worker"),
        RolePattern(text="python", role="worker"),
    ),
)
