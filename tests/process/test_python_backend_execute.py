"""Other forms of `execute`: requests that are given once more, and coroutines."""

import math
import threading

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

from tests.fixtures.scripted import DECOUPLED, post_script, run_script, script_body
from tests.fixtures.server import ANSWER_SECONDS
from tests.fixtures.waiting import wait_until

COUNT_DOWN = """
key = id(request)
left = model.__dict__.setdefault("left", {})
left[key] = left.get(key, 3) - 1
model.__dict__.setdefault("seen", []).append(request.flags())
if left[key]:
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
    return None
del left[key]
return "done"
"""
ASYNC_MODEL = '''
"""Answers each request after as many seconds as it asks for, other requests meanwhile.

A request for an endless time is answered when four are under way.
"""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.under_way = 0
        self.most = 0

    async def execute(self, requests):
        self.under_way += len(requests)
        self.most = max(self.most, self.under_way)
        for request in requests:
            seconds = float(request.inputs()[0].as_numpy()[0])
            print("began", flush=True)
            while seconds == float("inf") and self.most < 4:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0 if seconds == float("inf") else abs(seconds))
            if seconds < 0:
                raise ValueError("a negative time")
            most = pb_utils.Tensor("MOST", np.array([self.most], dtype=np.int32))
            sender = request.get_response_sender()
            sender.send(pb_utils.InferenceResponse([most]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        self.under_way -= len(requests)
'''
ASYNC_CONFIG = """
backend: "python"
input [{ name: "SECONDS" data_type: TYPE_FP32 dims: [ 1 ] }]
output [{ name: "MOST" data_type: TYPE_INT32 dims: [ 1 ] }]
model_transaction_policy { decoupled: true }
"""


def add_async_model(repository, name: str) -> None:
    (repository.path / name / "1").mkdir(parents=True)
    repository.write(f"{name}/1/model.py", ASYNC_MODEL)
    repository.write(f"{name}/config.pbtxt", ASYNC_CONFIG)


def ask_async(server, *seconds: float) -> list[object]:
    """Ask all at once over gRPC; return the answers in the order of their coming."""
    answers: list[object] = []
    is_over = threading.Semaphore(0)

    def on_answer(result, error):
        answers.append(str(error) if error else int(result.as_numpy("MOST")[0]))
        is_over.release()

    with InferenceServerClient(server.grpc_address) as client:
        client.start_stream(on_answer)
        for one in seconds:
            tensor = InferInput("SECONDS", [1], "FP32")
            tensor.set_data_from_numpy(np.array([one], dtype=np.float32))
            client.async_stream_infer("m", [tensor])
        for _ in seconds:
            assert is_over.acquire(timeout=ANSWER_SECONDS)
        client.stop_stream()
    return answers


def test_a_rescheduled_request_is_given_again_and_answered_once(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    assert run_script(server, "m", COUNT_DOWN) == "done"
    assert run_script(server, "m", "return model.seen") == [0, 0, 0]


def test_a_model_that_parses_the_command_line_finds_none(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    code = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=3)
    return parser.parse_args().size"""
    assert run_script(server, "m", code) == 3


def test_rescheduled_requests_and_new_ones_take_turns(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    forever = """
    if getattr(model, "is_told", False):
        return "told"
    time.sleep(0.01)
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
    """
    results: list[object] = []
    asking = threading.Thread(target=lambda: results.append(run_script(server, "m", forever)))
    asking.start()
    assert [run_script(server, "m", f"return {n}") for n in range(5)] == list(range(5))
    assert not results
    run_script(server, "m", "model.is_told = True")
    asking.join(ANSWER_SECONDS)
    assert results == ["told"]


def test_an_answer_to_a_rescheduled_request_is_an_error(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    wrong = "request.set_release_flags(2); return 1"
    answer = post_script(server, "m", wrong)
    assert answer.status == 500
    assert (
        "Expected a None object in the execute function return list for reschduled request"
        in (answer.json()["error"])
    )


def test_a_killed_instance_answers_for_what_it_had_rescheduled(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    forever = "time.sleep(0.01); request.set_release_flags(2); model.again = True"
    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: answers.append(server.infer("m", script_body(forever)).status)
    )
    asking.start()
    wait_until(lambda: run_script(server, "m", "return getattr(model, 'again', False)"))
    server.process_named("mps:m").kill()
    asking.join(ANSWER_SECONDS)
    assert answers == [503]


def test_a_decoupled_request_may_be_rescheduled_between_its_answers(serve, repository):
    repository.add("scripted", "caller")
    repository.add("scripted", "m", config=DECOUPLED)
    server = serve(repository.path)
    code = '''
    count_down = """
model.n = getattr(model, "n", 3) - 1
yield model.n
if model.n:
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
"""
    responses = inner("m", count_down).exec(decoupled=True)
    return [result_of(response) for response in responses if response.output_tensors()]
    '''
    assert run_script(server, "caller", code) == [2, 1, 0]


def test_coroutines_of_a_decoupled_model_overlap(serve, repository):
    add_async_model(repository, "m")
    server = serve(repository.path)
    assert max(ask_async(server, *[math.inf] * 8)) >= 4, "one after the other would never end"


def test_what_a_coroutine_raises_fails_its_request_only(serve, repository):
    add_async_model(repository, "m")
    server = serve(repository.path)
    answers = ask_async(server, 0.2, -0.05)
    (failed,) = (answer for answer in answers if isinstance(answer, str))
    assert "ValueError: a negative time" in failed
    assert len(answers) == 2


def test_an_unload_waits_for_coroutines(serve, repository):
    add_async_model(repository, "m")
    server = serve(repository.path, flags=["--model-control-mode=explicit", "--load-model=m"])
    results: list[object] = []
    asking = threading.Thread(target=lambda: results.extend(ask_async(server, 1.0)))
    asking.start()
    wait_until(lambda: "began" in server.log_text)
    server.unload("m")
    asking.join(ANSWER_SECONDS)
    assert results == [1]
