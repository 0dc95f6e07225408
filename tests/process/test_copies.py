"""How often the bytes of a large tensor are copied on their way: bytes copied per byte moved.

Everything that copies through the C library in a frontend or a worker is counted, whoever wrote it,
so a copy that somebody adds shows here. Figures are multiples of the tensor's bytes.
"""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import NamedTuple

import grpc
import numpy as np
import orjson
import pytest
import tritonclient.utils.shared_memory as triton_memory

from tests.fixtures.binary_tensor import binary_body
from tests.fixtures.copy_counter import CopyCounter
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.server import Server

MEBIBYTE = 1 << 20
WARM_UP = 2  # requests: arenas and buffers are there
REQUESTS = 3
HEAD_BYTES = 16 << 10  # that the first read of such a request takes: copied to their place
SLACK = 0.02  # all else that a process copies meanwhile
HEADER_LENGTH = "Inference-Header-Content-Length"
PIECE = 256 << 10
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
COPYING = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUTPUT0", request.inputs()[0].as_numpy().copy())]
            )
            for request in requests
        ]
"""


class Seen(NamedTuple):
    """What one request costs, in multiples of the tensor's bytes."""

    frontend: float
    worker: float
    received: float
    sent: float


Ask = Callable[[str], tuple[dict[str, str], bytes]]
Send = Callable[[str], np.ndarray]  # to a model; what it gave back


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> CopyCounter:
    """The library, compiled once."""
    return CopyCounter(tmp_path_factory.mktemp("copies"))


@pytest.fixture
def server(serve, repository, counter) -> Server:
    """One frontend and a model that gives back what it gets, all counted."""
    repository.add("identity", "m")
    repository.add("identity", "copying", files={"1/model.py": COPYING})
    flags = ["--frontends=1", "--allow-client-shm=true"]
    return serve(repository.path, flags=flags, environment=counter.environment)


def tensor_of(mebibytes: int, *, digits: bool = False) -> np.ndarray:
    """Random values, or such as are written with three signs and a comma."""
    random, size = np.random.default_rng(mebibytes), mebibytes * MEBIBYTE // 4
    if digits:
        return random.integers(0, 10, size).astype(np.float32)
    return random.random(size, np.float32)


def measure(
    server: Server, counter: CopyCounter, send: Send, tensor: np.ndarray, *, model: str = "m"
) -> Seen:
    """Send the tensor a few times, and return what each time cost."""
    pids = [server.process_named(title).pid for title in ("mps frontend 0", f"mps:{model}")]
    for _ in range(WARM_UP):
        np.testing.assert_array_equal(send(model), tensor)
    before = [counter.of(pid) for pid in pids]
    for _ in range(REQUESTS):
        send(model)
    # A client has its answer before the frontend has counted what it sent; it answers one by one.
    assert server.get("/v2/health/live").status == 200
    frontend, worker = (counter.of(pid).since(then) for pid, then in zip(pids, before, strict=True))
    bytes_of_all = tensor.nbytes * REQUESTS
    return Seen(
        frontend.copied / bytes_of_all,
        worker.copied / bytes_of_all,
        frontend.received / bytes_of_all,
        frontend.sent / bytes_of_all,
    )


# --- the ways of a tensor -----------------------------------------------------------------------


@contextmanager
def over_http(server: Server, body: bytes, headers: dict[str, str]) -> Iterator[Ask]:
    """Send the same request on one connection."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as client:

        def ask(model: str) -> tuple[dict[str, str], bytes]:
            client.request("POST", f"/v2/models/{model}/infer", body, headers)
            answer = client.getresponse()
            content = answer.read()
            assert answer.status == 200, content[:300]
            return {name.lower(): value for name, value in answer.getheaders()}, content

        yield ask


@contextmanager
def http_binary(server: Server, tensor: np.ndarray) -> Iterator[Send]:
    body, header_length = binary_body(tensor)
    with over_http(server, body, {HEADER_LENGTH: str(header_length)}) as ask:

        def send(model: str) -> np.ndarray:
            headers, content = ask(model)
            return np.frombuffer(content[int(headers[HEADER_LENGTH.lower()]) :], np.float32)

        yield send


@contextmanager
def http_json(server: Server, tensor: np.ndarray) -> Iterator[Send]:
    fields = {"name": "INPUT0", "shape": list(tensor.shape), "datatype": "FP32"}
    body = orjson.dumps({"inputs": [{**fields, "data": tensor.tolist()}]})
    with over_http(server, body, {"Content-Type": "application/json"}) as ask:

        def send(model: str) -> np.ndarray:
            _, content = ask(model)
            return np.array(orjson.loads(content)["outputs"][0]["data"], np.float32)

        yield send


@contextmanager
def grpc_raw(server: Server, tensor: np.ndarray) -> Iterator[Send]:
    with grpc.insecure_channel(server.grpc_address, options=UNLIMITED) as channel:
        calls = Calls(channel)
        described = {"name": "INPUT0", "datatype": "FP32", "shape": list(tensor.shape)}
        raw = (tensor.tobytes(),)

        def send(model: str) -> np.ndarray:
            answer = calls("ModelInfer", calls.infer_request(model, described, raw=raw))
            return np.frombuffer(answer.raw_output_contents[0], np.float32)

        yield send


@contextmanager
def client_memory(server: Server, tensor: np.ndarray) -> Iterator[Send]:
    """Input and output lie in one region of the client."""
    name, size = f"copies_{os.getpid()}", tensor.nbytes
    region = triton_memory.create_shared_memory_region(name, f"/{name}", 2 * size)
    try:
        triton_memory.set_shared_memory_region(region, [tensor])
        place = {"key": f"/{name}", "offset": 0, "byte_size": 2 * size}
        path = f"/v2/systemsharedmemory/region/{name}"
        assert server.post(f"{path}/register", place).status == 200

        def within(offset: int) -> dict[str, object]:
            return {
                "shared_memory_region": name,
                "shared_memory_offset": offset,
                "shared_memory_byte_size": size,
            }

        fields = {"shape": list(tensor.shape), "datatype": "FP32", "parameters": within(0)}
        asked = {"name": "OUTPUT0", "parameters": within(size)}
        body = json.dumps({"inputs": [{"name": "INPUT0", **fields}], "outputs": [asked]}).encode()
        with over_http(server, body, {"Content-Type": "application/json"}) as ask:

            def send(model: str) -> np.ndarray:
                ask(model)
                return triton_memory.get_contents_as_numpy(
                    region, np.float32, tensor.shape, offset=size
                )

            yield send
        assert server.post(f"{path}/unregister", {}).status == 200
    finally:
        triton_memory.destroy_shared_memory_region(region)


@contextmanager
def http_chunked(server: Server, tensor: np.ndarray) -> Iterator[Send]:
    """A body without a length: nobody knows where it may be received to."""
    body, header_length = binary_body(tensor)
    headers = {HEADER_LENGTH: str(header_length), "Transfer-Encoding": "chunked"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as client:

        def send(model: str) -> np.ndarray:
            pieces = (body[at : at + PIECE] for at in range(0, len(body), PIECE))
            client.request(
                "POST", f"/v2/models/{model}/infer", pieces, headers, encode_chunked=True
            )
            answer = client.getresponse()
            content = answer.read()
            assert answer.status == 200, content[:300]
            length = int(answer.headers[HEADER_LENGTH])
            return np.frombuffer(content[length:], np.float32)

        yield send


# --- what is expected ---------------------------------------------------------------------------


class Way(NamedTuple):
    """One way of a tensor, in and out, and what each byte of it may cost."""

    over: Callable[[Server, np.ndarray], AbstractContextManager[Send]]
    mebibytes: int
    frontend: float  # copies
    worker: float
    sockets: float  # bytes read, and likewise written
    digits: bool = False  # as text, of which each value takes as many bytes as in memory


# The worker's copy is that of the model's output into shared memory; inputs are never copied there.
WAYS = {
    "HTTP, 1 MiB": Way(http_binary, 1, frontend=0, worker=1, sockets=1),
    "HTTP, 16 MiB": Way(http_binary, 16, frontend=0, worker=1, sockets=1),
    # HTTP/2 cuts a tensor in frames, which are put together where the worker reads them.
    "gRPC, 1 MiB": Way(grpc_raw, 1, frontend=1, worker=1, sockets=1),
    "gRPC, 16 MiB": Way(grpc_raw, 16, frontend=1, worker=1, sockets=1),
    "client's memory, 1 MiB": Way(client_memory, 1, frontend=0, worker=1, sockets=0),
    # From 4 MiB on the one copy is `stream_copy`, which is no memcpy: none may be beside it.
    "client's memory, 16 MiB": Way(client_memory, 16, frontend=0, worker=0, sockets=0),
    # Text is read into numbers and written from them, and not copied before or after. (Where a
    # guessed Content-Length has fewer or more digits than the real one, the text moves by one.)
    "JSON, 12 MiB": Way(http_json, 12, frontend=0, worker=1, sockets=1, digits=True),
    # What is received in pieces of unknown number is gathered, and then copied to its place.
    "HTTP, chunked, 1 MiB": Way(http_chunked, 1, frontend=2, worker=1, sockets=1),
}


@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in WAYS.items()])
def test_no_byte_of_a_tensor_is_copied_more_often_than_it_has_to_be(server, counter, way):
    tensor = tensor_of(way.mebibytes, digits=way.digits)
    with way.over(server, tensor) as send:
        seen = measure(server, counter, send, tensor)
    read_with_head = HEAD_BYTES / tensor.nbytes
    assert way.frontend - SLACK <= seen.frontend <= way.frontend + read_with_head + SLACK, seen
    assert seen.worker == pytest.approx(way.worker, abs=SLACK), seen
    assert seen.received == pytest.approx(way.sockets, abs=SLACK), seen
    assert seen.sent == pytest.approx(way.sockets, abs=SLACK), seen


def test_a_copy_that_somebody_adds_is_seen(server, counter):
    tensor = tensor_of(1)
    with http_binary(server, tensor) as send:
        seen = measure(server, counter, send, tensor, model="copying")
    assert seen.worker == pytest.approx(2, abs=SLACK)
