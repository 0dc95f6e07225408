"""The loop between a dispatcher and a model, over real shared memory in one process."""

import threading
import time

import numpy as np
import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.errors import ErrorCode
from mpserve.model.config import BatchingPolicy
from mpserve.worker import loop
from tests.fixtures.waiting import wait_until


def doubled(requests):
    return [
        pb_utils.InferenceResponse([pb_utils.Tensor("OUT", r.inputs()[0].as_numpy() * 2)])
        for r in requests
    ]


def values(answer):
    (output,) = answer.outputs
    return np.frombuffer(output.data, dtype=np.float32).reshape(output.shape).tolist()


def test_requests_are_answered_from_shared_memory(server):
    server.start(doubled)
    server.submit("a", [[1, 2]])
    server.submit("b", [[3, 4], [5, 6]])
    first, second = server.wait("a", "b")
    assert first.code == second.code == 0
    assert values(first) == [[2, 4]]
    assert values(second) == [[6, 8], [10, 12]]


def test_a_model_that_raises_answers_and_goes_on(server):
    def execute(requests):
        if requests[0].inputs()[0].as_numpy()[0, 0] < 0:
            raise ValueError("negative")
        return doubled(requests)

    server.start(execute)
    server.submit("bad", [[-1, 0]])
    server.submit("good", [[1, 0]])
    bad, good = server.wait("bad", "good")
    assert bad.code == ErrorCode.MODEL_FAILED
    assert bad.error.startswith("ValueError: negative")
    assert values(good) == [[2, 0]]


@pytest.mark.parametrize("content", [b"\5\0\0\0ab", b"\1\0\0\0a", b"\0" * 13, b""])
def test_bytes_that_do_not_hold_their_elements_fail_the_request(server, content):
    def execute(requests):
        requests[0].inputs()[0].as_numpy()
        return doubled(requests)

    server.start(execute)
    server.dispatcher.submit(
        server.route,
        [("IN", "BYTES", [1, 2], content)],
        callback=lambda answer: server.answers.update(a=answer),
    )
    (answer,) = server.wait("a")
    assert answer.error.startswith(
        "TritonModelException: BYTES tensor does not hold the 2 elements of its shape"
    )


def test_an_error_of_one_request_is_its_own(server):
    def execute(requests):
        error = pb_utils.TritonError("no such row", pb_utils.TritonError.NOT_FOUND)
        return [pb_utils.InferenceResponse([], error) for _ in requests]

    server.start(execute)
    server.submit("a", [[1, 2]])
    (answer,) = server.wait("a")
    assert (answer.code, answer.error) == (ErrorCode.NOT_FOUND, "no such row")


def test_an_array_that_the_model_keeps_does_not_change(server):
    kept = []

    def execute(requests):
        kept.extend(request.inputs()[0].as_numpy() for request in requests)
        return doubled(requests)

    server.start(execute)
    for number in range(50):
        server.submit(number, [[number, number]])
        server.wait(number)
    assert [array.tolist() for array in kept] == [[[n, n]] for n in range(50)]


def test_waiting_requests_are_executed_together_with_a_batching_policy(server):
    sizes = []
    gate = threading.Event()

    def execute(requests):
        gate.wait(30.0)
        sizes.append(len(requests))
        return doubled(requests)

    server.start(execute, batching=BatchingPolicy())
    server.submit("first", [[0, 0]])
    wait_until(lambda: server.queue.running() == 1, deadline=30.0, what="the first to run")
    for number in range(4):
        server.submit(number, [[number, 0]])
    gate.set()
    answers = server.wait("first", *range(4))
    assert sizes == [1, 4]
    assert [values(answer) for answer in answers[1:]] == [[[2 * n, 0]] for n in range(4)]


HOUR_US = 3_600_000_000


def test_a_batch_waits_for_company_until_it_is_complete(server):
    sizes = []

    def execute(requests):
        sizes.append(len(requests))
        return doubled(requests)

    server.start(execute, batching=BatchingPolicy(preferred_sizes=(3,), max_delay_us=HOUR_US))
    server.submit(0, [[0, 0]])
    server.submit(1, [[1, 0]])
    server.submit(2, [[2, 0]])
    answers = server.wait(*range(3))
    assert sizes == [3]
    assert [values(answer) for answer in answers] == [[[2 * n, 0]] for n in range(3)]


def test_past_its_delay_a_batch_is_executed_as_it_is(server):
    sizes = []

    def execute(requests):
        sizes.append(len(requests))
        return doubled(requests)

    server.start(execute, batching=BatchingPolicy(max_delay_us=1_000))
    server.submit("a", [[1, 1]])
    server.wait("a")
    assert sizes == [1]


@pytest.mark.parametrize("end", ["queue retired", "asked to stop"])
def test_who_ends_keeps_no_batch_waiting_for_company(server, end):
    runtime = server.start(doubled, batching=BatchingPolicy(max_delay_us=HOUR_US))
    server.submit("a", [[1, 1]])
    if end == "queue retired":
        server.queue.retire()
    server.stop.request()
    (answer,) = server.wait("a")
    assert values(answer) == [[2, 2]]
    server.thread.join(30.0)
    assert runtime.unloaded == 1


def test_what_waits_when_the_queue_is_retired_is_still_answered(server):
    gate = threading.Event()

    def execute(requests):
        gate.wait(30.0)
        return doubled(requests)

    runtime = server.start(execute)
    for key in ("running", "waiting"):
        server.submit(key, [[1, 1]])
    wait_until(lambda: server.queue.running() == 1, deadline=30.0, what="the first to run")
    server.queue.retire()
    server.stop.request()
    gate.set()
    server.thread.join(30.0)
    assert [values(answer) for answer in server.wait("running", "waiting")] == [[[2, 2]]] * 2
    assert runtime.unloaded == 1


def test_a_stop_ends_an_idle_instance_at_once(server):
    runtime = server.start(doubled)
    server.submit("a", [[1, 1]])
    server.wait("a")
    server.stop.request()
    server.thread.join(30.0)
    assert not server.thread.is_alive()
    assert runtime.unloaded == 1
    assert server.stages == ["ready", "unloaded 0"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_instance_that_can_not_take_requests_is_never_ready(server):
    server.queue.unlink()  # its generation was given up meanwhile
    runtime = server.start(doubled)
    server.thread.join(30.0)
    assert server.stages == ["unloaded 0"]
    assert runtime.unloaded == 1


def test_an_instance_without_work_looks_less_and_less_often(server, monkeypatch):
    alone, after = [], []

    def look(port, waits, times):
        for _ in range(times):
            begun = time.monotonic()
            assert port.pop(4) == []
            waits.append(time.monotonic() - begun)

    def run(port, _execute, _stop):
        look(port, alone, 17)
        server.submit("a", [[1, 2]])
        requests = port.pop(60_000)
        port.complete(requests, doubled(requests))
        look(port, after, 10)

    monkeypatch.setattr(loop, "run", run)
    server.start(doubled)
    server.thread.join(60)
    assert alone[16] >= 0.125  # 32 times as long as at first
    assert min(after) < 0.125
