"""What a frontend and an instance count of requests, read from their shared memory."""

import numpy as np
import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.errors import ArenaFull, ErrorCode
from mpserve.model.config import BatchingPolicy
from mpserve.telemetry.counters import FailureReason
from tests.fixtures.waiting import wait_until

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def answer_of(array):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(array, np.float32))])


def echoed(requests):
    return [answer_of(request.inputs()[0].as_numpy()) for request in requests]


def failures(counts):
    return {reason.value: count for reason, count in counts.failures.items() if count}


def test_an_answer_that_is_there_is_counted_on_both_sides(server):
    server.start(echoed)
    for key in range(3):
        server.submit(key, [[1, 2], [3, 4]])
        server.wait(key)
        counts = server.queue.counts()
        assert (counts.successes, counts.executions, counts.inferences) == (
            key + 1,
            key + 1,
            2 * (key + 1),
        )
    (batch,) = counts.batches
    assert (batch.rows, batch.executions, batch.execute_ns) == (2, 3, counts.execute_ns)
    assert counts.last_inference_unix_ms > 0
    assert 0 < counts.queue_ns + counts.execute_ns <= counts.success_ns
    assert server.queue.instance_counts(0).requests_ok == 3
    assert server.queue.instance_counts(0).arena_total_bytes > 0


def test_a_batch_is_one_execution_and_counts_for_each_of_its_requests(server):
    for key in range(4):  # they wait until the instance starts
        server.submit(key, [[key, key]])
    assert server.queue.waiting() == 4
    server.start(echoed, batching=BatchingPolicy())
    server.wait(*range(4))
    counts = server.queue.counts()
    assert (counts.successes, counts.inferences, counts.executions) == (4, 4, 1)
    (batch,) = counts.batches
    assert (batch.rows, batch.executions) == (4, 1)
    assert counts.execute_ns == 4 * batch.execute_ns
    assert server.queue.waiting() == 0


def test_a_batch_that_raises_is_a_failure_of_the_backend_and_no_execution(server):
    def execute(_requests):
        raise ValueError("never")

    server.start(execute)
    server.submit("a", [[1, 2]])
    server.wait("a")
    counts = server.queue.counts()
    assert failures(counts) == {"BACKEND": 1}
    assert counts.failure_ns > 0
    assert (counts.successes, counts.executions, counts.batches) == (0, 0, ())


def test_a_request_that_is_taken_back_while_it_waits_was_cancelled(server):
    token = server.submit("a", [[1, 2]])
    assert server.queue.waiting() == 1
    server.dispatcher.cancel(token)
    assert failures(server.queue.counts()) == {"CANCELED": 1}
    assert server.queue.waiting() == 0


def test_what_waits_for_a_model_that_does_not_come_back_failed_in_the_backend(server):
    server.submit("a", [[1, 2]])
    server.queue.answer_waiting(ErrorCode.UNAVAILABLE)
    server.wait("a")
    assert failures(server.queue.counts()) == {"BACKEND": 1}


def test_a_request_without_room_in_shared_memory_was_rejected(server):
    with pytest.raises(ArenaFull, match="Failed to increase the shared memory pool size"):
        server.submit("a", np.zeros((2 << 20, 2)))
    assert failures(server.queue.counts()) == {"REJECTED": 1}


def test_streams_count_once_and_fail_with_any_of_their_answers(server):
    def execute(requests):
        for request in requests:
            sender = request.get_response_sender()
            if request.inputs()[0].as_numpy()[0, 0] < 0:
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("negative")))
            sender.send(answer_of([[1, 1]]))
            sender.send(flags=FINAL)

    server.start(execute, decoupled=True)
    server.submit("good", [[1, 1], [2, 2]])
    server.submit("bad", [[-1, 1]])
    server.wait("good", "bad")
    counts = server.queue.counts()
    assert counts.successes == 1
    assert failures(counts) == {"BACKEND": 1}
    wait_until(lambda: server.queue.counts().executions == 2, what="both executions")
    assert [batch.rows for batch in server.queue.counts().batches] == [1, 2]
    assert counts.last_inference_unix_ms > 0


def test_a_successor_of_a_frontend_goes_on_counting(server):
    server.start(echoed)
    server.submit("a", [[1, 2]])
    server.wait("a")
    again = server.dispatcher.make_port(server.queue.native)  # as a respawned frontend does
    assert again.pending == 0
    assert server.queue.counts().successes == 1
    assert set(server.queue.counts().failures) == set(FailureReason)
