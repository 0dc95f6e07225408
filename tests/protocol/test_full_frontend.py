"""What a frontend has no place for: refused in its turn, and all that was accepted is answered."""

import json
import re
import socket
from contextlib import ExitStack, closing

import grpc
import numpy as np
import pytest

from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.server import Server
from tests.fixtures.turnstile import Turnstile, request
from tests.fixtures.waiting import wait_until

# Of a model with a limit, all that is in flight lies in its queue, and has room in the ring.
PLACES = 4096
FULL = "[request id: {}] Exceeds maximum queue size"
PIPELINED = 64
CONFIG = "dynamic_batching { default_queue_policy { max_queue_size: 5000 } }"


def read_answers(client: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Read so many answers of a pipeline."""
    answers = []
    with client.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            fields = {}
            while line := stream.readline().decode().strip():
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            answers.append((status, fields, stream.read(int(fields["content-length"]))))
    return answers


def counted(server: Server, name: str) -> float:
    """Return the sum of a metric's samples."""
    return sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)$", server.metrics(), re.MULTILINE)))


def refusal_by_grpc(server: Server, request_id: str) -> tuple[grpc.StatusCode, str]:
    """Ask the model, which is full."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel)
        tensor = {"name": "HOLD", "datatype": "INT32", "shape": [1]}
        message = calls.infer_request("t", tensor, raw=(np.zeros(1, np.int32).tobytes(),))
        message.id = request_id
        with pytest.raises(grpc.RpcError) as caught:
            calls("ModelInfer", message)
        return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("dialect", "failures"),
    [("triton", "nv_inference_request_failure"), ("mlserver", "model_infer_request_failure_total")],
    ids=["triton", "mlserver"],
)
def test_what_finds_no_place_is_refused_and_the_connection_goes_on(
    serve, repository, tmp_path, dialect, failures
):
    model = Turnstile(repository, tmp_path, config=CONFIG)
    server = serve(repository.path, flags=[f"--dialect={dialect}"])
    numbered = [infer_bytes("t", request(request_id=f"r{number}")) for number in range(PIPELINED)]
    with ExitStack() as stack:
        *accepted, last = (
            stack.enter_context(closing(Connection(server)))
            for _ in range((PLACES - 1) // PIPELINED + 1)
        )
        begun = 1 + len(accepted) * PIPELINED
        refusals = PIPELINED - (PLACES - begun)
        with model.held(server):
            for connection in accepted:
                connection.socket.sendall(b"".join(numbered))
            wait_until(
                lambda: counted(server, "mpserve_queue_depth") == begun - 1,
                what="the requests to wait",
            )
            # The rest of the places, and what is refused, within one pipeline.
            last.socket.sendall(b"".join(numbered))
            wait_until(lambda: counted(server, failures) == refusals, what="the refusals")
            by_python = server.infer("t", request(request_id="p", timeout=1))
            assert (by_python.status, by_python.json()) == (503, {"error": FULL.format("p")})
            assert refusal_by_grpc(server, "g") == (
                grpc.StatusCode.UNAVAILABLE, FULL.format("g")
            )  # fmt: skip
            wait_until(lambda: counted(server, failures) == refusals + 2, what="these two")
        for connection in (*accepted, last):
            good = PIPELINED if connection is not last else PLACES - begun
            answers = read_answers(connection.socket, PIPELINED)
            assert [status for status, _, _ in answers] == [200] * good + [503] * (PIPELINED - good)
            for number, (status, fields, body) in enumerate(answers):
                told = json.loads(body)
                if status == 200:
                    assert told["id"] == f"r{number}"
                    continue
                assert told == {"error": FULL.format(f"r{number}")}
                assert fields["retry-after"] == "1"
                assert fields["content-type"] == by_python.headers["content-type"]
            assert connection.exchange(numbered[0])[0] == 200
