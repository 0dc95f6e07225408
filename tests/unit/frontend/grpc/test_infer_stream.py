"""A stream of inferences against a frontend that answers when the test wants it."""

from functools import partial
from types import SimpleNamespace

import pytest

from mpserve.dialect import MLSERVER, TRITON, GrpcCode
from mpserve.errors import InvalidRequest
from mpserve.frontend.grpc.call import SHUTTING_DOWN, GrpcFailure
from mpserve.frontend.grpc.infer_result import InferResult
from mpserve.frontend.grpc.infer_stream import MAX_OUTSTANDING, InferStreams
from mpserve.frontend.grpc.messages import INFER_REQUEST, inference_schema

FAILURE = GrpcFailure(code=GrpcCode.INTERNAL, message="broken")
SCHEMA = inference_schema(TRITON.name)
REQUEST = SCHEMA.message(INFER_REQUEST)
RESPONSE = SCHEMA.message("inference.ModelStreamInferResponse")


class Answers:
    """What the service hears of a stream: `GrpcInfer` without a model."""

    def __init__(self, decoupled=()):
        self.decoupled = decoupled
        self.on_result = {}
        self.cancelled = []
        self.native = {}

    def parse(self, encoded):
        return REQUEST.FromString(encoded)

    def start_native(self, encoded, on_result, *, deadline_ns, in_stream, **_):
        """Requests for the model `native` are common ones."""
        assert deadline_ns == Output.deadline_ns
        if b"native" not in encoded:
            return None
        message = REQUEST.FromString(encoded)
        self.native[message.id] = (on_result, in_stream)
        return 1000 + len(self.native)

    def find(self, message):
        config = SimpleNamespace(
            decoupled=message.model_name in self.decoupled, answers_streams=False
        )
        return SimpleNamespace(version=SimpleNamespace(config=config))

    def start(self, message, *, deadline_ns, on_result, **_):
        assert deadline_ns == Output.deadline_ns
        if message.model_name == "bad":
            raise InvalidRequest("bad request")
        token = len(self.on_result) + 1
        self.on_result[message.id] = on_result
        return token

    def cancel(self, token):
        self.cancelled.append(token)

    def failure(self, error):
        return GrpcFailure(code=GrpcCode.INVALID_ARGUMENT, message=error.message)

    def give_native(self, request_id, answer):
        on_result, in_stream = self.native[request_id]
        if in_stream and isinstance(answer, bytes):
            inner = RESPONSE().infer_response.__class__.FromString(answer)
            answer = RESPONSE(infer_response=inner).SerializeToString()
        on_result(answer)

    def give(self, request_id, answer=b"", *, is_final=True):
        self.on_result[request_id](InferResult(encode=lambda: answer, is_final=is_final))


class Output:
    """What the client gets."""

    deadline_ns = 77

    def __init__(self):
        self.sent = []
        self.ends = []
        self.writable = True
        self.callback = None

    def on_writable(self, callback):
        self.callback = callback

    def client_reads(self):
        self.writable = True
        callback, self.callback = self.callback, None
        callback()

    def send(self, message):
        self.sent.append(message)

    def end(self, failure):
        self.ends.append(failure)

    def told(self):
        """Return (id or error) of each message."""
        read = [RESPONSE.FromString(message) for message in self.sent]
        return [one.error_message or one.infer_response.id for one in read]


def response(request_id):
    return RESPONSE().infer_response.__class__(id=request_id).SerializeToString()


def ask(stream, *ids, model="m", **more):
    for one in ids:
        stream.on_message(REQUEST(model_name=model, id=one, **more).SerializeToString())


@pytest.fixture
def answers():
    return Answers(decoupled={"words"})


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def stream(answers, output):
    return InferStreams(infer=answers, dialect=TRITON).open(output, {})


def test_answers_wait_for_those_of_earlier_requests(stream, answers, output):
    ask(stream, "1", "2", "3")
    answers.give("3", response("3"))
    answers.give("2", response("2"))
    assert output.told() == []
    answers.give("1", response("1"))
    assert output.told() == ["1", "2", "3"]


def test_answers_of_decoupled_models_do_not_wait(stream, answers, output):
    ask(stream, "1")
    ask(stream, "2", model="words")
    answers.give("2", response("2"), is_final=False)
    answers.give("2", None)
    assert output.told() == ["2"]
    answers.give("1", response("1"))
    stream.on_half_close()
    assert output.ends == [None]


def test_common_requests_keep_the_order_too(stream, answers, output):
    ask(stream, "1", model="native")
    ask(stream, "2")
    ask(stream, "3", "4", model="native")
    answers.give_native("3", response("3"))
    answers.give("2", response("2"))
    assert output.told() == []
    answers.give_native("1", response("1"))
    assert output.told() == ["1", "2", "3"]
    answers.give_native("4", response("4"))
    assert output.told() == ["1", "2", "3", "4"]
    stream.on_half_close()
    assert output.ends == [None]


def test_a_failure_of_a_common_request_names_it(stream, answers, output):
    ask(stream, "1", model="native")
    stream.on_half_close()
    answers.give_native("1", FAILURE)
    [told] = [RESPONSE.FromString(message) for message in output.sent]
    assert (told.error_message, told.infer_response.id) == ("broken", "1")
    assert told.infer_response.parameters["triton_final_response"].bool_param
    assert output.ends == [None]


def test_common_requests_of_a_client_that_went_are_taken_back(stream, answers, output):
    ask(stream, "1", "2", model="native")
    stream.on_client_gone()
    assert answers.cancelled == [1001, 1002]
    answers.give_native("1", response("1"))
    assert output.sent == []


def test_a_stream_ends_with_its_last_answer(stream, answers, output):
    ask(stream, "1")
    stream.on_half_close()
    assert output.ends == []
    answers.give("1", response("1"))
    assert output.ends == [None]


def test_an_error_waits_for_its_turn_too(stream, answers, output):
    ask(stream, "1")
    ask(stream, "2", model="bad")
    assert output.told() == []
    answers.give("1", FAILURE)
    assert output.told() == ["broken", "bad request"]


def test_bytes_that_are_no_request_are_told(output):
    class Malformed(Answers):
        def parse(self, _):
            raise InvalidRequest("no message")

    stream = InferStreams(infer=Malformed(), dialect=TRITON).open(output, {})
    stream.on_message(b"\xff")
    assert output.told() == ["no message"]


@pytest.mark.parametrize(
    ("dialect", "metadata"), [(MLSERVER, {}), (TRITON, {"triton_grpc_error": "true"})]
)
def test_an_error_may_end_the_stream(answers, output, dialect, metadata):
    stream = InferStreams(infer=answers, dialect=dialect).open(output, metadata)
    ask(stream, "1", "2", "3")
    answers.give("1", FAILURE)
    assert output.ends == [FAILURE]
    assert answers.cancelled == [2, 3]
    answers.give("2", response("2"))  # it had begun already
    assert output.sent == []


def test_a_client_that_goes_takes_back_what_waits(stream, answers, output):
    ask(stream, "1", "2")
    answers.give("2", response("2"))
    stream.on_client_gone()
    assert answers.cancelled == [1]
    answers.give("1", response("1"))
    assert (output.sent, output.ends) == ([], [])


def test_the_end_of_the_server_ends_an_idle_stream(stream, output):
    stream.on_drain()
    assert output.ends == [SHUTTING_DOWN]


def test_the_end_of_the_server_waits_for_what_was_asked(stream, answers, output):
    ask(stream, "1")
    stream.on_drain()
    ask(stream, "2")
    assert output.ends == []
    answers.give("1", response("1"))
    assert (output.told(), output.ends) == (["1"], [SHUTTING_DOWN])


def test_a_stream_has_room_for_so_many(stream, answers):
    ask(stream, *map(str, range(MAX_OUTSTANDING)))
    assert not stream.has_room()
    answers.give("0", response("0"))
    assert stream.has_room()


def test_the_mark_of_the_end_is_sent_to_those_who_want_it(stream, answers, output):
    wants = {"triton_enable_empty_final_response": {"bool_param": True}}
    ask(stream, "1", model="words", parameters=wants)
    ask(stream, "2", model="words")
    answers.give("1", None)
    answers.give("2", None)
    (mark,) = (RESPONSE.FromString(message).infer_response for message in output.sent)
    assert (mark.id, mark.model_name) == ("1", "words")
    assert mark.parameters["triton_final_response"].bool_param


def test_a_client_that_does_not_read_leaves_answers_where_they_are(stream, answers, output):
    encoded = []

    def encode(number):
        encoded.append(number)
        return response(str(number))

    ask(stream, "1", model="words")
    output.writable = False
    for number in range(5):
        result = InferResult(encode=partial(encode, number), is_final=number == 4)
        answers.on_result["1"](result)
    stream.on_half_close()
    assert (encoded, output.sent, output.ends) == ([], [], [])
    output.client_reads()
    assert output.told() == ["0", "1", "2", "3", "4"]
    assert output.ends == [None]


def test_answers_that_are_not_read_take_the_room_of_requests(stream, answers, output):
    output.writable = False
    for number in range(MAX_OUTSTANDING):
        ask(stream, str(number))
        answers.give(str(number), response(str(number)))
    assert not stream.has_room()
    output.client_reads()
    assert stream.has_room()
    assert len(output.sent) == MAX_OUTSTANDING


def test_answers_that_wait_go_with_their_client(stream, answers, output):
    ask(stream, "1", model="words")
    output.writable = False
    answers.give("1", response("1"), is_final=False)
    stream.on_client_gone()
    assert answers.cancelled == [1]
    output.client_reads()
    assert output.sent == []
