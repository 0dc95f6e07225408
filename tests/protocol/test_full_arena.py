"""Large requests to a model that does not answer leave room for those to others."""

import json
import re
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import grpc
import numpy as np

from tests.fixtures.binary_tensor import binary_bytes
from tests.fixtures.closed_loop import Connection
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.pace import within
from tests.fixtures.server import Server
from tests.fixtures.turnstile import Turnstile
from tests.fixtures.waiting import wait_until

MEBIBYTE = 1 << 20
ARENA = 64 * MEBIBYTE
PIECE = 4 * MEBIBYTE
FLAGS = [f"--arena-max-bytes={ARENA}", "--frontends=1"]
BULK = 'input { name: "BULK" data_type: TYPE_UINT8 dims: [ -1 ] optional: true }'
CROWD = 15  # requests that fill it
GAVE_WAY = (
    r"\[request id: {request_id}\] Failed to keep 4\d{{6}} bytes in the shared memory pool for key "
    r"'arena': the requests of model '{model}' hold 6\d{{7}} of 67108864 bytes, and another model "
    r"needs room; send it again later, or raise --arena-max-bytes"
)
BURST = 80  # requests of some hundred KiB: their blocks are cut from what is larger
BURST_FLOATS = 50 << 10
BURST_ARENA = 16 * MEBIBYTE  # not enough for all of them at once
WAITS = """
import asyncio
import pathlib
import sys

import numpy as np
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec


class Model(MLModel):
    async def predict(self, payload):
        sys.stderr.write("waits for its gate\\n")
        while pathlib.Path(self.settings.parameters.uri).exists():
            await asyncio.sleep(0.01)
        output = NumpyCodec.encode_output("out", np.zeros(1))
        return types.InferenceResponse(model_name=self.name, outputs=[output])
"""


def bulk_bytes(model: str, size: int, request_id: str) -> bytes:
    """Return a request with so many bytes, as it goes over the wire."""
    hold = {"name": "HOLD", "shape": [1], "datatype": "INT32", "data": [0]}
    bulk = {"name": "BULK", "shape": [size], "datatype": "UINT8"}
    bulk["parameters"] = {"binary_data_size": size}
    text = json.dumps({"id": request_id, "inputs": [hold, bulk]}).encode()
    lengths = f"Content-Length: {len(text) + size}\r\nInference-Header-Content-Length: {len(text)}"
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: test\r\n{lengths}\r\n\r\n"
    return head.encode() + text + bytes(size)


def waiting(server: Server, model: str) -> int:
    """Return how many requests wait for an instance."""
    pattern = rf'^nv_inference_pending_request_count{{model="{model}",version="[^"]*"}} (\S+)$'
    found = re.search(pattern, server.metrics(), re.MULTILINE)
    assert found, f"{model} is not counted"
    return int(float(found[1]))


class Crowd:
    """Clients of one model, each with one large request."""

    def __init__(self, server: Server, model: str) -> None:
        self._server = server
        self._model = model
        self._clients: list[Connection] = []

    def ask(self) -> None:
        """Send one more request."""
        client = Connection(self._server)
        self._clients.append(client)
        client.socket.sendall(bulk_bytes(self._model, PIECE, f"r{len(self._clients)}"))

    def answers(self) -> list[tuple[int, bytes]]:
        """Wait for all answers, in the order of the requests."""
        return [client.exchange(b"") for client in self._clients]

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            client.close()


def ask(server: Server, model: str, size: int) -> tuple[int, bytes]:
    """Send one request; return what it is answered with."""
    client = Connection(server)
    try:
        return client.exchange(bulk_bytes(model, size, "x"))
    finally:
        client.close()


def ask_by_grpc(server: Server, model: str, size: int) -> None:
    """Send one request, which must be answered."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options) as channel:
        calls = Calls(channel)
        tensors = (
            {"name": "HOLD", "datatype": "INT32", "shape": [1]},
            {"name": "BULK", "datatype": "UINT8", "shape": [size]},
        )
        raw = (np.zeros(1, np.int32).tobytes(), bytes(size))
        calls("ModelInfer", calls.infer_request(model, *tensors, raw=raw))


def segment_bytes(server: Server) -> int:
    """Return what the server's shared memory takes."""
    sizes = []
    for path in server.segments():
        with suppress(FileNotFoundError):  # it is removed meanwhile
            sizes.append(Path(path).stat().st_size)
    return sum(sizes)


def test_those_that_came_last_to_a_stuck_model_give_way(serve, repository, tmp_path):
    stuck = Turnstile(repository, tmp_path, config=BULK, name="stuck")
    Turnstile(repository, tmp_path, config=BULK, name="well")
    server = serve(repository.path, flags=FLAGS)
    with closing(Crowd(server, "stuck")) as crowd:
        with stuck.held(server):
            for number in range(CROWD):
                crowd.ask()
                wait_until(
                    lambda number=number: waiting(server, "stuck") == number + 1,
                    what="the request to wait",
                )
            for size in (100, MEBIBYTE, 3 * PIECE):
                assert ask(server, "well", size)[0] == 200
            ask_by_grpc(server, "well", 5 * PIECE)
        answers = crowd.answers()
    gone = [status for status, _ in answers].count(503)
    assert 4 <= gone <= 6
    assert [status for status, _ in answers] == [200] * (CROWD - gone) + [503] * gone
    told = json.loads(answers[-1][1])["error"]
    assert re.fullmatch(GAVE_WAY.format(request_id=f"r{CROWD}", model="stuck"), told), told


def test_who_holds_most_is_refused_what_finds_no_room(serve, repository, tmp_path):
    stuck = Turnstile(repository, tmp_path, config=BULK, name="stuck")
    server = serve(repository.path, flags=FLAGS)
    with closing(Crowd(server, "stuck")) as crowd:
        with stuck.held(server):
            for _ in range(CROWD + 2):
                crowd.ask()
            wait_until(lambda: stuck.failures(server, "REJECTED") == 2, what="the refusals")
            wait_until(lambda: waiting(server, "stuck") == CROWD, what="the others to wait")
        answers = crowd.answers()
    assert sorted(status for status, _ in answers) == [200] * CROWD + [503] * 2
    told = json.loads(next(body for status, body in answers if status == 503))["error"]
    assert "raise --arena-max-bytes" in told


def test_an_instance_that_takes_many_leaves_room_for_others(serve, repository, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    folder = repository.path / "waits"
    folder.mkdir()
    (folder / "waits.py").write_text(WAITS)
    settings = {"name": "waits", "implementation": "waits.Model", "parameters": {"uri": str(gate)}}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    Turnstile(repository, tmp_path, config=BULK, name="well")
    server = serve(repository.path, flags=FLAGS)

    def held() -> int:
        return server.log_text.count("waits for its gate")

    with closing(Crowd(server, "waits")) as crowd:
        for _ in range(CROWD):
            crowd.ask()
        wait_until(lambda: held() + waiting(server, "waits") == CROWD, what="the requests to wait")
        assert held() * PIECE <= ARENA // 2
        assert ask(server, "well", 3 * PIECE)[0] == 200
        gate.unlink()
        statuses = [status for status, _ in crowd.answers()]
    gone = statuses.count(503)
    assert 1 <= gone <= 3
    assert statuses.count(200) == CROWD - gone


def test_a_burst_leaves_room_for_a_larger_request_and_gives_its_memory_back(serve, repository):
    repository.add("identity", "m")
    server = serve(repository.path, flags=[f"--arena-max-bytes={BURST_ARENA}", "--frontends=1"])

    def exchange(client: Connection, floats: int) -> int:
        tensor = np.arange(floats, dtype=np.float32)
        status, body = client.exchange(binary_bytes("m", tensor))
        assert status == 503 or body.endswith(tensor.tobytes()), body[:200]
        return status

    with closing(Connection(server)) as last, ExitStack() as held:
        assert exchange(last, 1) == 200
        at_rest = segment_bytes(server)
        question = binary_bytes("m", np.zeros(BURST_FLOATS, np.float32))
        clients = [held.enter_context(closing(Connection(server))) for _ in range(BURST)]
        for _ in range(3):
            for client in clients:
                client.socket.sendall(question)
            statuses = {client.exchange(b"")[0] for client in clients}
            assert 200 in statuses
            assert statuses <= {200, 503}
            # More than what the burst leaves free, on the way there and back.
            assert exchange(last, 3 * MEBIBYTE) == 200

        def has_shrunk() -> bool:
            assert exchange(last, 1) == 200  # small ones go on
            return segment_bytes(server) <= at_rest

        wait_until(has_shrunk, deadline=within(20), what="the memory of the burst to be given back")
