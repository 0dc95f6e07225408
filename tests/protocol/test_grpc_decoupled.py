"""Decoupled models over a stream: rows 118 and 109 of the checklist."""

from textwrap import dedent

import grpc
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, Calls
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import IDENTITY, tensors, write_triton

pytestmark = BOTH_TRANSPORTS

WORDS = dedent(
    """
    import time

    import numpy
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        '''Answers each word, the last one with the final flag when it is marked by a full stop.

        `!` is an error; `*` waits until the request is cancelled.
        '''

        def execute(self, requests):
            for request in requests:
                self.answer(request)

        def answer(self, request):
            sender = request.get_response_sender()
            text = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0].decode()
            for word in text.split():
                if word == "!":
                    error = pb_utils.TritonError("no such word")
                    sender.send(pb_utils.InferenceResponse([], error=error))
                    continue
                while word == "*" and not request.is_cancelled():
                    time.sleep(0.001)
                if word == "*":
                    print("saw the cancellation", flush=True)
                    break
                values = numpy.array([word.strip(".").encode()], dtype=numpy.object_)
                response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", values)])
                if word.endswith("."):
                    sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                    return
                sender.send(response)
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    """
)


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, grpc_transport, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoupled")
    root = folder / "models"
    io = tensors("input", ("IN", "TYPE_STRING", [1])) + tensors(
        "output", ("OUT", "TYPE_STRING", [1])
    )
    write_triton(
        root / "words",
        source=WORDS,
        config="model_transaction_policy { decoupled: true }\n" + io,
    )
    write_triton(root / "text", source=IDENTITY, config=io)
    with Server.serve(root, log_path=folder / "log") as one:
        yield one


@pytest.fixture(scope="module")
def calls(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield Calls(channel)


def words(calls, text, *, model="words", wants_mark=False, **more):
    raw = len(text).to_bytes(4, "little") + text.encode()
    tensor = {"name": "IN", "datatype": "BYTES", "shape": [1]}
    marks = {"triton_enable_empty_final_response": {"bool_param": True}} if wants_mark else {}
    return calls.infer_request(model, tensor, raw=(raw,), parameters=marks, **more)


def told(answers):
    """Return (word or error, final flag) of each answer; "" for one without outputs."""
    found = []
    for answer in answers:
        response = answer.infer_response
        raw = response.raw_output_contents
        word = answer.error_message or (raw[0][4:].decode() if raw else "")
        found.append((word, response.parameters["triton_final_response"].bool_param))
    return found


def test_118_answers_come_as_they_are_made(calls):
    answers = list(calls.stream(iter([words(calls, "a b", id="7")])))
    assert told(answers) == [("a", False), ("b", False)]
    assert {answer.infer_response.id for answer in answers} == {"7"}


def test_118_the_mark_is_sent_to_those_who_want_it(calls):
    answers = list(calls.stream(iter([words(calls, "a b", id="7", wants_mark=True)])))
    assert told(answers) == [("a", False), ("b", False), ("", True)]
    last = answers[-1].infer_response
    assert (last.id, last.model_name, last.model_version) == ("7", "words", "")


@pytest.mark.parametrize(("wants_mark", "expected"), [(False, []), (True, [("", True)])])
def test_118_a_model_may_send_nothing(calls, wants_mark, expected):
    assert told(calls.stream(iter([words(calls, "", wants_mark=wants_mark)]))) == expected


def test_the_last_answer_may_carry_the_flag(calls):
    assert told(calls.stream(iter([words(calls, "a b.")]))) == [("a", False), ("b", True)]


def test_an_error_is_one_of_the_answers(calls):
    answers = told(calls.stream(iter([words(calls, "a ! b.")])))
    assert answers == [("a", False), ("no such word", False), ("b", True)]


def test_ordinary_requests_of_the_same_stream_keep_their_order(calls):
    requests = [
        words(calls, "x", model="text", id="1"),
        words(calls, "a b"),
        words(calls, "y", model="text", id="2"),
    ]
    answers = [answer.infer_response for answer in calls.stream(iter(requests))]
    assert [one.id for one in answers if one.model_name == "text"] == ["1", "2"]
    assert len(answers) == 4


def test_109_a_decoupled_model_has_no_unary_answer(calls):
    with pytest.raises(grpc.RpcError) as caught:
        calls("ModelInfer", words(calls, "a"))
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "ModelInfer RPC doesn't support models with decoupled transaction policy",
    )


def test_a_client_that_cancels_is_seen_by_the_model(calls, server):
    stream = calls.stream(iter([words(calls, "a *")]))
    assert told([next(stream)]) == [("a", False)]
    stream.cancel()
    wait_until(
        lambda: "saw the cancellation" in server.log_text, what="the model to see the cancellation"
    )
