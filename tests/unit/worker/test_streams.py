"""Decoupled models: any number of answers for a request, by their `InferenceResponseSender`."""

import threading

import numpy as np
import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.errors import ErrorCode
from tests.fixtures.waiting import wait_until

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def answer_of(array):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(array, np.float32))])


def told(server, key):
    """Values of all answers, None for one without outputs."""
    return [
        np.frombuffer(answer.outputs[0].data, np.float32).tolist() if answer.outputs else None
        for answer in server.streams[key]
    ]


def test_a_request_may_have_many_answers_in_their_order(server):
    def execute(requests):
        for request in requests:
            sender = request.get_response_sender()
            for number in range(3):
                sender.send(answer_of([[number, number]]))
            sender.send(flags=FINAL)

    server.start(execute, decoupled=True)
    server.submit("a", [[1, 2]])
    server.wait("a")
    assert told(server, "a") == [[0, 0], [1, 1], [2, 2], None]
    assert [answer.final for answer in server.streams["a"]] == [False, False, False, True]


def test_the_last_answer_may_carry_the_mark(server):
    server.start(
        lambda requests: requests[0].get_response_sender().send(answer_of([[7, 7]]), FINAL),
        decoupled=True,
    )
    server.submit("a", [[1, 2]])
    server.wait("a")
    assert told(server, "a") == [[7, 7]]


def test_no_answer_at_all_is_a_mark_alone(server):
    server.start(
        lambda requests: requests[0].get_response_sender().send(flags=FINAL), decoupled=True
    )
    server.submit("a", [[1, 2]])
    (answer,) = server.wait("a")
    assert answer.code == 0
    assert told(server, "a") == [None]


def test_answers_may_come_after_execute_returned_and_out_of_order(server):
    senders = []

    def execute(requests):
        senders.extend(request.get_response_sender() for request in requests)

    server.start(execute, decoupled=True)
    server.submit("first", [[1, 1]])
    server.submit("second", [[2, 2]])
    wait_until(lambda: len(senders) == 2, deadline=30.0, what="two senders")
    senders[1].send(answer_of([[2, 2]]), FINAL)
    server.wait("second")
    assert "first" not in server.answers
    senders[0].send(answer_of([[1, 1]]), FINAL)
    server.wait("first")
    senders.clear()


@pytest.mark.parametrize("end", ["retire", "stop"])
def test_a_model_is_not_unloaded_before_its_senders_have_finished(server, end):
    senders = []
    runtime = server.start(
        lambda requests: senders.extend(one.get_response_sender() for one in requests),
        decoupled=True,
    )
    server.submit("a", [[1, 1]])
    wait_until(lambda: senders, deadline=30.0, what="a sender")

    if end == "retire":
        server.queue.retire()
    server.stop.request()
    server.thread.join(0.2)  # it would have ended by now
    assert server.thread.is_alive()
    assert runtime.unloaded == 0

    senders.pop().send(answer_of([[2, 2]]), FINAL)
    server.wait("a")
    server.thread.join(30.0)
    assert told(server, "a") == [[2, 2]]
    assert runtime.unloaded == 1


def test_answers_may_come_from_other_threads(server):
    def tell(request):
        sender = request.get_response_sender()
        value = request.inputs()[0].as_numpy()[0, 0]
        for _ in range(5):
            sender.send(answer_of([[value, value]]))
        sender.send(flags=FINAL)

    def execute(requests):
        for request in requests:
            threading.Thread(target=tell, args=(request,)).start()

    server.start(execute, decoupled=True)
    for key in range(20):
        server.submit(key, [[key, key]])
    server.wait(*range(20))
    for key in range(20):
        assert told(server, key) == [[key, key]] * 5 + [None]


def test_a_dropped_sender_is_an_error_and_no_hang(server):
    server.start(lambda _requests: None, decoupled=True)
    server.submit("a", [[1, 2]])
    (answer,) = server.wait("a")
    assert answer.code == ErrorCode.MODEL_FAILED
    assert "before it sent the final flag" in answer.error


def test_an_exception_fails_only_what_was_not_finished(server):
    def execute(requests):
        sender = requests[0].get_response_sender()
        sender.send(answer_of([[1, 1]]), FINAL if requests[0].request_id() == "done" else 0)
        raise ValueError("no more")

    server.start(execute, decoupled=True)
    server.submit("a", [[1, 2]], request_id="done")
    server.submit("b", [[1, 2]], request_id="open")
    done, failed = server.wait("a", "b")
    assert done.code == 0
    assert failed.code == ErrorCode.MODEL_FAILED
    assert "ValueError: no more" in failed.error
    assert told(server, "b") == [[1, 1], None]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((None, 0), "Inference Response object must be provided"),
        ((None, 4), "Unsupported flag provided"),
    ],
)
def test_a_wrong_use_of_the_sender_raises_tritons_words(server, arguments, text):
    raised = []

    def execute(requests):
        sender = requests[0].get_response_sender()
        with pytest.raises(pb_utils.TritonModelException) as caught:
            sender.send(*arguments)
        raised.append(str(caught.value))
        sender.send(flags=FINAL)
        with pytest.raises(pb_utils.TritonModelException, match="sender has been closed"):
            sender.send(flags=FINAL)

    server.start(execute, decoupled=True)
    server.submit("a", [[1, 2]])
    (answer,) = server.wait("a")
    assert answer.code == 0
    assert text in raised[0]


def test_the_model_sees_that_nobody_waits_any_more(server):
    senders = []
    server.start(lambda requests: senders.append(requests[0].get_response_sender()), decoupled=True)
    token = server.submit("a", [[1, 2]])
    wait_until(lambda: senders, deadline=30.0, what="a sender")
    assert not senders[0].is_cancelled()
    server.dispatcher.cancel(token)
    assert senders[0].is_cancelled()
    senders[0].send(answer_of([[1, 1]]))
    senders[0].send(flags=FINAL)
    senders.clear()

    def settled():
        server.dispatcher.on_wake()
        return server.dispatcher.in_flight == 0

    wait_until(settled, deadline=30.0, what="the request to be settled")
    assert "a" not in server.streams


def test_a_full_arena_holds_the_model_back_until_answers_are_taken(server):
    """The arena has 8 MiB; 20 answers of 1 MiB fit only when earlier ones came back."""

    def execute(requests):
        sender = requests[0].get_response_sender()
        for number in range(20):
            sender.send(answer_of(np.full((1, 1 << 18), number)))
        sender.send(flags=FINAL)

    server.start(execute, decoupled=True)
    sums = []

    def took(answer):
        if answer.outputs:
            sums.append(np.frombuffer(answer.outputs[0].data, np.float32)[-1])
        else:
            server.answers["a"] = answer

    server.dispatcher.submit(
        server.route,
        [("IN", "FP32", [1, 2], np.ones((1, 2), np.float32))],
        callback=took,
    )
    server.wait("a")
    assert sums == list(range(20))


def test_a_reader_that_does_not_read_holds_back_only_its_own_answers(server):
    """Of 8 MiB of arena, 512 KiB are for one request; each answer here takes 64 KiB."""
    kept = []

    def tell(request):
        sender = request.get_response_sender()
        for number in range(int(request.inputs()[0].as_numpy()[0, 0])):
            sender.send(answer_of(np.full((1, 1 << 14), number)))
        sender.send(flags=FINAL)

    def execute(requests):
        for request in requests:
            threading.Thread(target=tell, args=(request,)).start()

    def took():
        server.dispatcher.on_wake()
        return len(kept)

    server.start(execute, decoupled=True)
    server.dispatcher.submit(
        server.route,
        [("IN", "FP32", [1, 2], np.full((1, 2), 100, np.float32))],
        callback=kept.append,  # the answers hold their memory
    )
    wait_until(lambda: took() >= 8, deadline=30.0, what="the first answers")
    server.submit("other", [[2, 2]])
    wait_until(lambda: took() and "other" in server.answers, what="the answers of the other")
    assert len(kept) <= 9

    def read():
        took()
        kept[:] = [one for one in kept if one.final]
        return kept

    wait_until(read, deadline=30.0, what="the answers that had to wait")
