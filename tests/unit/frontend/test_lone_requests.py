"""When requests are pushed: at once where they come alone, else together at the end of a turn."""

from collections.abc import Iterator

import pytest

from mpserve.codec.cloud_events import Events
from mpserve.codec.http_connection import HttpConnection
from mpserve.dialect import TRITON
from mpserve.errors import ErrorCode
from mpserve.frontend.http.server import http_config
from mpserve.settings import Settings
from mpserve.shm.dispatcher import Route
from mpserve.shm.model_queue import ModelQueue
from tests.fixtures.frontend_place import Place
from tests.fuzz.connections import Transport

BODY = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
REQUEST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class Clients:
    """Connections of a frontend whose one model has no instance; the test takes what waits."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.queue: ModelQueue = place.queue()
        route = Route(
            port=place.dispatcher.make_port(self.queue.native),
            model_name="m",
            model_version="1",
            generation=1,
            inputs=(),
            outputs=(),
            max_batch_size=0,
            open_inputs=True,
            open_outputs=True,
        )
        place.dispatcher.update("m", {"": route})
        self.config = http_config(
            dispatcher=place.dispatcher,
            dialect=TRITON,
            settings=Settings(),
            on_exchange=lambda exchange: pytest.fail(f"not native: {exchange.target}"),
            native_inference=True,
            events=Events(),
        )

    def connect(self) -> "Client":
        return Client(self.config)

    def answer(self) -> None:
        """Answer all that waits, and let the frontend hear it."""
        self.queue.answer_waiting(ErrorCode.UNAVAILABLE)
        self.place.dispatcher.on_wake()


class Client:
    def __init__(self, config) -> None:
        self.transport = Transport()
        self.connection = HttpConnection(config)
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        memoryview(self.connection)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    @property
    def answers(self) -> int:
        return bytes(self.transport.written).count(b"HTTP/1.1 503")


@pytest.fixture
def clients() -> Iterator[Clients]:
    place = Place()
    yield Clients(place)
    place.close()


def test_a_lone_request_does_not_wait_for_the_end_of_the_turn(clients):
    client = clients.connect()
    for sent in (1, 2, 3):
        client.send(REQUEST)
        assert clients.queue.depth() == 1
        assert not clients.place.turn
        clients.answer()
        assert client.answers == sent


def test_requests_of_one_turn_are_pushed_together(clients):
    one, other, third = clients.connect(), clients.connect(), clients.connect()
    one.send(REQUEST)
    other.send(REQUEST)
    third.send(REQUEST)
    assert clients.queue.depth() == 1
    assert len(clients.place.turn) == 1
    clients.place.end_turn()
    assert clients.queue.depth() == 3
    clients.answer()
    assert (one.answers, other.answers, third.answers) == (1, 1, 1)


def test_pipelined_requests_are_pushed_together(clients):
    client = clients.connect()
    client.send(REQUEST * 2)
    assert clients.queue.depth() == 0
    clients.place.end_turn()
    assert clients.queue.depth() == 2
    clients.answer()
    assert client.answers == 2


def test_where_many_came_before_the_next_one_waits_for_company(clients):
    client, other = clients.connect(), clients.connect()
    client.send(REQUEST * 2)
    clients.place.end_turn()
    clients.answer()
    client.send(REQUEST)
    other.send(REQUEST)
    assert clients.queue.depth() == 0
    clients.place.end_turn()
    assert clients.queue.depth() == 2
    clients.answer()
    assert (client.answers, other.answers) == (3, 1)


def test_a_push_for_a_lone_request_leaves_the_frontend_listening(clients):
    client = clients.connect()
    client.send(REQUEST)
    with open(clients.place.wake_fd, "rb", buffering=0, closefd=False) as signal:
        while signal.read(8):
            pass
        clients.queue.answer_waiting(ErrorCode.UNAVAILABLE)
        assert signal.read(8), "nobody would have heard the answer"
    clients.place.dispatcher.on_wake()
    assert client.answers == 1
