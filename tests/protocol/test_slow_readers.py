"""Clients that stop reading a stream: memory stays bounded, the model waits, others go on."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, Calls
from tests.fixtures.memory import pss_bytes, settled_frontend
from tests.fixtures.pace import IS_FULL, within
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until, wait_until_still
from tests.protocol.models import tensors, write_triton

pytestmark = BOTH_TRANSPORTS

MIB = 1 << 20
ANSWER_BYTES = 64 * 1024
ANSWERS = 1600  # 100 MiB
BOUND = 24 * MIB
PATIENCE_SECONDS = 60

FLOOD = f"""
import sys, threading
import numpy
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    '''Answers each request as often as it asks for, from a thread, so that requests go on.'''

    def execute(self, requests):
        for request in requests:
            threading.Thread(target=self.tell, args=(request,)).start()

    def tell(self, request):
        count = pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy().item()
        sender, name = request.get_response_sender(), request.request_id()
        data = numpy.full(1, b"x" * {ANSWER_BYTES}, numpy.object_)
        for number in range(count):
            if request.is_cancelled():
                sys.stderr.write(f"{{name}} was cancelled\\n")
                break
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("DATA", data)]))
            sys.stderr.write(f"{{name}} sent {{number}}\\n")
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, grpc_transport, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("slow")
    write_triton(
        folder / "models" / "flood",
        source=FLOOD,
        config="model_transaction_policy { decoupled: true }\n"
        + tensors("input", ("COUNT", "TYPE_INT32", [1]))
        + tensors("output", ("DATA", "TYPE_STRING", [1])),
    )
    with Server.serve(
        folder / "models", log_path=folder / "log", flags=["--frontends=1"]
    ) as started:
        yield started


@pytest.fixture(scope="module")
def channel(server) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", 4 * MIB), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(server.grpc_address, options=options) as one:
        yield one


@pytest.fixture
def calls(channel) -> Calls:
    return Calls(channel)


def asking(calls: Calls, count: int, request_id: str):
    tensor = {"name": "COUNT", "datatype": "INT32", "shape": [1]}
    return calls.infer_request("flood", tensor, raw=(count.to_bytes(4, "little"),), id=request_id)


def sent(server: Server, name: str) -> int:
    return server.log_text.count(f"{name} sent ")


def wait_until_held(server: Server, name: str) -> int:
    """Return how many answers the model had sent when it could send no more."""
    return wait_until_still(
        lambda: sent(server, name), seconds=0.5, deadline=within(30), what="the model"
    )


def pss(server: Server) -> int:
    return pss_bytes([settled_frontend(server)])


def grpc_reader(server: Server, calls: Calls, name: str) -> tuple[Callable[[], int], Callable]:
    stream = calls.stream(iter([asking(calls, ANSWERS, name)]), timeout=2 * PATIENCE_SECONDS)
    next(stream)
    return lambda: 1 + sum(1 for _ in stream), stream.cancel


def http_reader(server: Server, calls: Calls, name: str) -> tuple[Callable[[], int], Callable]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=within(30))
    connection.connect()
    # What the system keeps for a reader counts too, and may be many megabytes.
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    body = {"id": name, "COUNT": ANSWERS}
    connection.request("POST", "/v2/models/flood/generate_stream", json.dumps(body))
    answer = connection.getresponse()

    def read() -> int:
        count = sum(1 for line in answer if line.startswith(b"data: {"))
        connection.close()
        return count

    def hang_up() -> None:
        answer.close()
        connection.close()

    return read, hang_up


READERS = pytest.mark.parametrize("open_reader", [grpc_reader, http_reader])


@READERS
def test_a_reader_that_stops_holds_the_model_back_and_nobody_else(server, calls, open_reader):
    name = f"slow-{open_reader.__name__}"
    before = pss(server)
    read_all, _ = open_reader(server, calls, name)
    held_at = wait_until_held(server, name)
    assert held_at * ANSWER_BYTES < BOUND, "the model was not held back"
    assert pss(server) - before < BOUND
    # The same model, and the same connection, serve others meanwhile.
    assert len(list(calls.stream(iter([asking(calls, 3, "other")])))) == 3
    assert read_all() == ANSWERS
    wait_until(lambda: sent(server, name) == ANSWERS, what="the last line")


@READERS
def test_a_model_that_is_held_back_sees_that_its_client_left(server, calls, open_reader):
    name = f"leaving-{open_reader.__name__}"
    _, hang_up = open_reader(server, calls, name)
    wait_until_held(server, name)
    hang_up()
    wait_until(lambda: f"{name} was cancelled" in server.log_text, what="the model to see it")
    assert sent(server, name) * ANSWER_BYTES < BOUND


@pytest.mark.skipif(not IS_FULL, reason="takes a minute: MPSERVE_TEST_FULL=1")
@pytest.mark.timeout(180)
def test_readers_that_read_nothing_for_a_minute_are_given_up(server, calls):
    readers = {f"lazy-{one.__name__}": one for one in (grpc_reader, http_reader)}
    opened = {name: reader(server, calls, name) for name, reader in readers.items()}
    for name in readers:
        wait_until_held(server, name)
    begun = time.monotonic()
    wait_until(
        lambda: all(f"{name} was cancelled" in server.log_text for name in readers),
        deadline=PATIENCE_SECONDS + 15,
        what="the model to be told that nobody reads",
    )
    assert time.monotonic() - begun > PATIENCE_SECONDS / 2
    assert all(sent(server, name) * ANSWER_BYTES < BOUND for name in readers)
    assert len(list(calls.stream(iter([asking(calls, 3, "other")])))) == 3
    for _, hang_up in opened.values():
        hang_up()
