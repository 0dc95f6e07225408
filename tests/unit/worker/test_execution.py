import numpy as np
import pytest

from mpserve.errors import ErrorCode, InvalidRequest, ModelError
from mpserve.worker.execution import Execution
from tests.fixtures.native_requests import block


class RecordingPort:
    def __init__(self):
        self.answers = []

    def complete(self, requests, responses):
        self.answers.extend(responses)
        requests.clear()

    def detach(self, requests):
        requests.clear()

    def put_off(self, requests):
        del requests
        return []

    def fail(self, requests, code, message):
        self.answers.extend((ErrorCode(code), message) for _ in requests)
        requests.clear()


class FunctionRuntime:
    name = "function"

    def __init__(self, execute):
        self.execute = execute


def run(execute, *requests):
    port = RecordingPort()
    Execution(FunctionRuntime(execute), port).run(list(requests))
    return port.answers


def raising(error):
    def execute(requests):
        raise error

    return execute


def test_responses_go_to_the_port():
    assert run(lambda requests: [request * 2 for request in requests], 1, 2) == [2, 4]
    assert run(tuple, 1, 2) == [1, 2]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ModelError("told"), ErrorCode.MODEL_FAILED, "told"),
        (InvalidRequest("shape"), ErrorCode.INVALID_ARGUMENT, "shape"),
    ],
)
def test_our_errors_keep_their_code_and_words(error, code, message):
    assert run(raising(error), 1, 2) == [(code, message)] * 2


@pytest.mark.parametrize(
    ("error", "head"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (SystemExit(1), "SystemExit: 1"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_whatever_a_model_raises_is_an_answer(error, head):
    ((code, message),) = run(raising(error), 1)
    assert code is ErrorCode.MODEL_FAILED
    assert message.startswith(f"{head}\n\nAt:\n  {__file__}(")


def test_the_whole_traceback_goes_to_the_log(capfd):
    def execute(requests):
        try:
            raise ValueError("inner cause")
        except ValueError as error:
            raise ModelError("for the client") from error

    assert run(execute, 1) == [(ErrorCode.MODEL_FAILED, "for the client")]
    written = capfd.readouterr().err
    assert "model.raised" in written
    assert "inner cause" in written
    assert 'execution.py"' not in written.partition("Traceback")[0]


@pytest.mark.parametrize("responses", [[], [1], [1, None], [1, 2, 3]])
def test_a_runtime_that_does_not_answer_each_request_fails_the_batch(responses):
    answers = run(lambda _requests: responses, "a", "b")
    assert [code for code, _ in answers] == [ErrorCode.INTERNAL] * 2
    assert "answers to 2 requests" in answers[0][1]


def test_what_a_model_raised_keeps_no_block_when_the_batch_is_answered():
    held = block({"IN": np.zeros(2)})
    leased_when_answered = []

    class LookingPort(RecordingPort):
        def fail(self, requests, code, message):
            super().fail(requests, code, message)
            leased_when_answered.append(held.is_leased)

    def execute(requests):
        array = requests[0].inputs()[0].as_numpy()
        raise ValueError(array.shape)

    Execution(FunctionRuntime(execute), LookingPort()).run([held.request()])
    assert leased_when_answered == [False]
