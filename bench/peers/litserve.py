"""LitServe: FastAPI with Python workers behind queues; JSON of its own, not the V2 protocol."""

from typing import Final

from bench.measuring.cpu import RolePattern
from bench.peers.program import PORT, Library

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

LITSERVE: Final = Library(
    name="litserve",
    requirement="litserve==0.2.19",
    program=PROGRAM,
    arguments=(PORT,),
    ready_path="/health",
    roles=(
        RolePattern(text="resource_tracker", role="other"),
        RolePattern(text="multiprocessing", role="worker"),
        RolePattern(text="python", role="frontend"),
    ),
)
