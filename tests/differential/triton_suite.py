"""Triton and mpserve on one repository, and how their answers are made comparable."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

from bench.peers.peer import Control
from bench.peers.triton import Triton
from tests.differential import triton_requests
from tests.differential.peers import Pair, running
from tests.differential.suite import Suite
from tests.differential.triton_differences import DIFFERENCES
from tests.fixtures.grpc_calls import TRITON
from tests.fixtures.server import Server
from tests.protocol.models import IDENTITY, WORDS, all_types, tensors, write_named, write_triton

SEVERAL = dedent(
    """
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                sender = request.get_response_sender()
                given = pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy()
                for number in range(int(given[0])):
                    output = pb_utils.Tensor("NUMBER", np.array([number], dtype=np.int32))
                    sender.send(pb_utils.InferenceResponse([output]))
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return None
    """
)
TIMES = {"ns", "last_inference", "lastInference"}  # members that differ from run to run
HIDDEN = "..."


def write_models(root: Path) -> Path:
    """Write the models that both serve; the peer's stub knows no BF16."""
    write_named(root, "m", "text")
    words = tuple(word for word in WORDS if word not in {"BF16", "FP16"})
    write_triton(root / "all_types", source=IDENTITY, config=all_types(words))
    write_triton(
        root / "several",
        source=SEVERAL,
        config="model_transaction_policy { decoupled: true }\n"
        + tensors("input", ("COUNT", "TYPE_INT32", [1]))
        + tensors("output", ("NUMBER", "TYPE_INT32", [1])),
    )
    return root


def peer(repository: Path, scratch: Path) -> contextlib.AbstractContextManager[Pair]:
    """Run Triton with all models loaded."""
    more = ["--load-model=*"]
    return running(Triton(), repository, scratch, control=Control.EXPLICIT, more=more)


@contextlib.contextmanager
def ours(repository: Path, scratch: Path) -> Iterator[Pair]:
    """Run mpserve with all models loaded, and client memory allowed as the peer has it."""
    flags = ["--model-control-mode=explicit", "--load-model=*", "--allow-client-shm=true"]
    with Server.serve(repository, flags=flags, log_path=scratch / "ours.log") as server:
        yield Pair(server.port, server.grpc_port)


def settled(value: Any) -> Any:
    """Return a value without what differs from run to run; answers of a stream by their request."""
    if isinstance(value, bytes):
        try:
            return settled(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, dict):
        return {
            name: HIDDEN if name in TIMES or _is_of_server(value, name) else settled(member)
            for name, member in value.items()
        }
    if isinstance(value, list):
        # A server may mix answers to different requests.
        return sorted((settled(one) for one in value), key=_request_id)
    return value


def _request_id(answer: Any) -> str:
    """Return what orders the answers of a stream; anything else stays as it is."""
    return str(answer.get("inferResponse", {}).get("id", "")) if isinstance(answer, dict) else ""


def _is_of_server(members: dict[str, Any], name: str) -> bool:
    return name == "version" and "extensions" in members


SUITE = Suite(
    name="triton",
    write_models=write_models,
    peer=peer,
    ours=ours,
    http_cases=triton_requests.http_cases(),
    grpc_cases=triton_requests.grpc_cases(),
    stream_cases=triton_requests.stream_cases(),
    messages=TRITON,
    settle=settled,
    differences=DIFFERENCES,
    least_cases=300,
)
