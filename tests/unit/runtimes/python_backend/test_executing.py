"""What models of the Python backend give, and what is made of it."""

import numpy as np
import pytest

from mpserve import _native
from mpserve.errors import ModelError
from mpserve.runtimes.python_backend import PythonBackendRuntime
from tests.fixtures.native_requests import block, request
from tests.unit.runtimes.conformance import RuntimeConformance
from tests.unit.runtimes.plain import triton_context
from tests.unit.runtimes.python_backend.models import executing

ONE = np.array([1.0], dtype=np.float32)
FAILED = "Failed to process the request(s) for model instance 'm_0', message: "


class TestConformance(RuntimeConformance):
    registered_name = "python"

    @pytest.fixture
    def runtime(self):
        return PythonBackendRuntime()

    @pytest.fixture
    def context(self, write_model):
        return write_model("""
            class TritonPythonModel:
                def execute(self, requests):
                    return [self.answer(request) for request in requests]

                def answer(self, request):
                    if not request.inputs():
                        return pb_utils.InferenceResponse([], pb_utils.TritonError("no input"))
                    array = request.inputs()[0].as_numpy() * 2
                    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)])
            """)

    @pytest.fixture
    def broken_context(self, tmp_path):
        return triton_context(tmp_path, complete_config=False)

    @pytest.fixture
    def good_request(self):
        return request({"IN": ONE})

    @pytest.fixture
    def bad_request(self):
        return request()

    def test_an_error_tells_what_was_wrong_in_words(self, loaded, bad_request):
        (response,) = loaded.execute([bad_request])
        assert response.error().message() == "no input"


def test_an_exception_in_execute_is_told_with_its_place(load, tmp_path):
    runtime = load(executing("raise KeyError('weights')"))
    with pytest.raises(ModelError) as caught:
        runtime.execute([request()])
    file = tmp_path / "m" / "1" / "model.py"
    assert caught.value.message == (f"{FAILED}KeyError: 'weights'\n\nAt:\n  {file}(4): execute\n")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return {}", "Expected a list in the execute return, found type '<class 'dict'>'."),
        ("return None", "Expected a list in the execute return, found type '<class 'NoneType'>'."),
        (
            "return []",
            "Number of InferenceResponse objects do not match the number of InferenceRequest"
            " objects. InferenceRequest(s) size is:2, and InferenceResponse(s) size is:0\n",
        ),
        (
            "return [pb_utils.InferenceResponse([]), 5]",
            "Expected an 'InferenceResponse' object in the execute function return list, found type"
            " '<class 'int'>'.",
        ),
    ],
)
def test_wrong_results_fail_the_batch_with_tritons_words(load, body, words):
    runtime = load(executing(body))
    with pytest.raises(ModelError) as caught:
        runtime.execute([request(), request()])
    assert caught.value.message == FAILED + words


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import sys; sys.exit(2)", "SystemExit: 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        (
            "class Mute(Exception):\n    __str__ = None\nraise Mute",
            "Mute: <the exception's own text",
        ),
    ],
)
def test_no_exception_passes_the_runtime(load, statement, words):
    runtime = load(executing(statement))
    with pytest.raises(ModelError) as caught:
        runtime.execute([request()])
    assert caught.value.message.startswith(FAILED + words)


def test_a_request_without_an_answer_is_failed_and_the_others_are_not(load):
    runtime = load(executing("return [None, pb_utils.InferenceResponse([])]"))
    missing, good = runtime.execute([request(), request()])
    assert missing.error().message().startswith(f"{FAILED}Expected an 'InferenceResponse' object")
    assert not good.has_error()


def test_answers_may_be_sent_instead_of_returned(load):
    runtime = load(
        executing("""
            for request in requests:
                sender = request.get_response_sender()
                tensor = pb_utils.Tensor("OUT", request.inputs()[0].as_numpy())
                sender.send(
                    pb_utils.InferenceResponse([tensor]),
                    flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
                )
            return [None] * len(requests) if len(requests) == 1 else None
            """)
    )
    for count in (1, 2):
        responses = runtime.execute([request({"IN": ONE}) for _ in range(count)])
        assert [r.output_tensors()[0].as_numpy().tolist() for r in responses] == [[1.0]] * count


def test_a_model_without_execute_loads_and_says_so_for_each_batch(load, tmp_path):
    runtime = load("class TritonPythonModel: pass")
    with pytest.raises(ModelError) as caught:
        runtime.execute([request()])
    assert caught.value.message == (
        f"{FAILED}Python model {tmp_path}/m/1/model.py does not implement `execute` method."
    )


def test_execute_may_be_a_coroutine(load):
    runtime = load("""
        import asyncio

        class TritonPythonModel:
            async def execute(self, requests):
                await asyncio.sleep(0)
                return [pb_utils.InferenceResponse([]) for _ in requests]
        """)
    for _ in range(2):
        assert not runtime.execute([request()])[0].has_error()


def test_a_model_may_change_the_list_of_requests(load):
    runtime = load(executing("return [pb_utils.InferenceResponse([]) for _ in requests[:]]"))
    requests = [request(), request()]
    assert len(runtime.execute(requests)) == 2
    assert len(requests) == 2


def test_the_answer_to_a_failed_batch_keeps_no_block(load):
    runtime = load(executing("array = requests[0].inputs()[0].as_numpy(); raise ValueError"))
    held = block({"IN": ONE})
    with pytest.raises(ModelError):
        runtime.execute([held.request()])
    assert not held.is_leased


def test_responses_are_sent_as_the_model_made_them(load):
    runtime = load(
        executing("""
            return [
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", r.inputs()[0].as_numpy() + 1)])
                for r in requests
            ]
            """)
    )
    received = request({"IN": ONE})
    (response,) = runtime.execute([received])
    sent = _native.LoopbackAnswer(received, response).outputs()
    assert sent == [("OUT", "FP32", [1], "", np.array([2], dtype=np.float32).tobytes())]
