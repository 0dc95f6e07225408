"""A stream whose model takes all its requests, against a model that answers when the test wants."""

import pytest

from mpserve.dialect import GrpcCode
from mpserve.errors import InvalidRequest
from mpserve.frontend.grpc.call import SHUTTING_DOWN, GrpcFailure
from mpserve.frontend.grpc.infer_result import CallKind, InferResult
from mpserve.frontend.grpc.model_stream import MAX_WAITING, ModelStream

REFUSED = GrpcFailure(code=GrpcCode.INVALID_ARGUMENT, message="bad")


class Model:
    """What the service hears of a stream: `GrpcInfer` with one model."""

    def __init__(self):
        self.inputs = []
        self.has_all = False
        self.cancelled = []
        self.on_result = None

    def start(self, message, *, kind, on_result, **_):
        assert kind is CallKind.STREAM
        self.inputs.append(message)
        self.on_result = on_result
        return 7

    def send_input(self, token, encoded, **_):
        assert token == 7
        if encoded == b"bad":
            raise InvalidRequest("bad")
        self.inputs.append(encoded)

    def end_inputs(self, token):
        assert token == 7
        self.has_all = True

    def cancel(self, token):
        self.cancelled.append(token)

    def failure(self, error):
        return GrpcFailure(code=GrpcCode.INVALID_ARGUMENT, message=error.message)

    def wants(self):
        self.on_result(InferResult(encode=lambda: None, is_final=False, wants_input=True))

    def give(self, answer, *, is_final=False):
        self.on_result(InferResult(encode=lambda: answer, is_final=is_final))


class Output:
    """What the client gets."""

    deadline_ns = 0

    def __init__(self):
        self.sent = []
        self.ends = []
        self.reads = 0
        self.writable = True
        self.callback = None

    def on_writable(self, callback):
        self.callback = callback

    def client_reads(self):
        self.writable = True
        self.callback()

    def read_on(self):
        self.reads += 1

    def send(self, message):
        self.sent.append(message)

    def set_trailers(self, headers):
        assert headers == b""

    def end(self, failure):
        self.ends.append(failure)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def stream(model, output):
    one = ModelStream(output=output, infer=model, metadata={}, routed=None)
    one.begin("first")
    return one


def test_a_request_waits_until_the_model_wants_it(stream, model, output):
    stream.on_message(b"second")
    assert model.inputs == ["first"]
    model.wants()
    assert model.inputs == ["first", b"second"]
    assert output.reads == 1, "there is room for one more"


def test_a_model_that_waits_gets_a_request_when_it_comes(stream, model):
    model.wants()
    stream.on_message(b"second")
    stream.on_message(b"third")
    assert model.inputs == ["first", b"second"]


def test_so_many_requests_may_wait(stream, model):
    for _ in range(MAX_WAITING):
        assert stream.has_room()
        stream.on_message(b"more")
    assert not stream.has_room()
    model.wants()
    assert stream.has_room()


def test_the_end_of_the_requests_comes_behind_the_last(stream, model):
    stream.on_message(b"second")
    stream.on_half_close()
    model.wants()
    assert not model.has_all
    model.wants()
    assert model.has_all


def test_the_models_end_is_the_streams(stream, model, output):
    stream.on_message(b"second")
    model.give(b"answer")
    model.give(None, is_final=True)
    assert (output.sent, output.ends) == ([b"answer"], [None])
    stream.on_message(b"third")
    stream.on_client_gone()
    assert model.cancelled == []


def test_a_refused_request_ends_the_stream_behind_the_answers_and_cancels_the_model(
    stream, model, output
):
    output.writable = False
    model.give(b"answer")
    model.wants()
    stream.on_message(b"bad")
    assert model.cancelled == [7]
    assert (output.sent, output.ends) == ([], [])
    output.client_reads()
    assert (output.sent, output.ends) == ([b"answer"], [REFUSED])


def test_an_answer_that_is_an_error_ends_the_stream(stream, model, output):
    model.give(REFUSED)
    model.give(b"late")
    assert (output.sent, output.ends) == ([], [REFUSED])


def test_a_client_that_goes_takes_everything_along(stream, model, output):
    output.writable = False
    model.give(b"answer")
    stream.on_message(b"second")
    stream.on_client_gone()
    assert model.cancelled == [7]
    model.wants()
    model.give(b"late", is_final=True)
    assert (model.inputs, output.sent, output.ends) == (["first"], [], [])


def test_the_end_of_the_server_ends_the_requests_and_lets_the_model_answer(stream, model, output):
    model.wants()
    stream.on_drain()
    assert model.has_all
    stream.on_message(b"late")
    model.give(b"answer")
    model.give(None, is_final=True)
    assert model.inputs == ["first"]
    assert (output.sent, output.ends) == ([b"answer"], [SHUTTING_DOWN])
