import numpy as np
import pytest

from mpserve import _native
from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.errors import ErrorCode
from tests.fixtures.native_requests import block, context, request

ARRAY = np.array([1.5, 2.5], dtype=np.float32)


def answer(received, response):
    return _native.LoopbackAnswer(received, response)


def names(answered):
    return [name for name, *_ in answered.outputs()]


def test_a_request_tells_what_the_client_sent():
    received = request(
        {"A": ARRAY, "B": ARRAY},
        request_id="r-1",
        parameters_json='{"headers":"x"}',
        outputs=[("OUT", '{"binary_data":true}')],
        sequence_id=7,
        flags=1,
        timeout_us=500,
    )
    assert received.request_id() == "r-1"
    assert received.parameters() == '{"headers":"x"}'
    assert received.requested_output_names() == ["OUT"]
    assert received.output_parameters_json("OUT") == '{"binary_data":true}'
    assert received.output_parameters_json("OTHER") == ""
    assert received.correlation_id() == 7
    assert received.flags() == pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
    assert received.timeout() == 500
    assert received.trace().get_context() is None
    assert [tensor.name() for tensor in received.inputs()] == ["A", "B"]


def test_a_request_tells_what_the_client_left_out():
    received = request({"A": ARRAY})
    assert received.request_id() == ""
    assert received.parameters() == "{}"
    assert received.correlation_id() == 0
    assert received.timeout() == 0


def test_a_correlation_id_may_be_text():
    assert request(sequence_text="seq-9").correlation_id() == "seq-9"


def test_flags_can_be_set():
    received = request()
    received.set_flags(pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END)
    assert received.flags() == 2


def test_a_request_without_outputs_asks_for_all_that_are_declared():
    received = request(context=context(output_names=("A", "B")))
    assert received.requested_output_names() == ["A", "B"]


def test_inputs_are_found_by_name_and_are_the_same_objects():
    received = request({"A": ARRAY, "B": ARRAY})
    found = pb_utils.get_input_tensor_by_name(received, "B")
    assert found is received.inputs()[1]
    assert pb_utils.get_input_tensor_by_name(received, "C") is None


def test_a_model_may_change_the_list_it_got():
    received = request({"A": ARRAY})
    received.inputs().clear()
    assert len(received.inputs()) == 1


def test_cancellation_reaches_the_request_and_its_sender():
    held = block({"A": ARRAY})
    received = held.request()
    assert not received.is_cancelled()
    held.cancel()
    assert received.is_cancelled()
    assert received.get_response_sender().is_cancelled()


def test_outputs_that_were_not_requested_or_not_declared_are_dropped():
    response = pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, ARRAY) for name in ("A", "B", "C")]
    )
    declared = context(output_names=("A", "B"))
    assert names(answer(request(context=declared), response)) == ["A", "B"]
    assert names(answer(request(context=declared, outputs=[("B", "")]), response)) == ["B"]
    assert names(answer(request(context=declared, outputs=[("C", "")]), response)) == []


def test_open_outputs_are_sent_as_the_runtime_gives_them():
    response = pb_utils.InferenceResponse([pb_utils.Tensor("X", ARRAY)])
    opened = context(output_names=(), open_outputs=True)
    assert names(answer(request(context=opened, outputs=[("Y", "")]), response)) == ["X"]


def test_parameters_of_an_answer_and_its_tensors_are_sent():
    tensor = _native.Tensor("OUT", ARRAY, parameters_json='{"content_type":"np"}')
    response = pb_utils.InferenceResponse([tensor], parameters={"a": 1, "b": True, "c": "x"})
    answered = answer(request(), response)
    assert answered.parameters == response.parameters() == '{"a": 1, "b": true, "c": "x"}'
    assert answered.outputs()[0] == ("OUT", "FP32", [2], '{"content_type":"np"}', ARRAY.tobytes())


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ([], "got <class 'list'>"),
        ({1: "a"}, "^Expect parameters keys to have type str, found type <class 'int'>$"),
        (
            {"a": 0.5},
            "^Expect parameters values to have type bool/int/str, found type <class 'float'>$",
        ),
        (
            {"a": None},
            "^Expect parameters values to have type bool/int/str, found type <class 'NoneType'>$",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_tritons_words(parameters, words):
    with pytest.raises(pb_utils.TritonModelException, match=words):
        pb_utils.InferenceResponse([], parameters=parameters)


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("UNKNOWN", 0, ErrorCode.UNKNOWN),
        ("INTERNAL", 1, ErrorCode.INTERNAL),
        ("NOT_FOUND", 2, ErrorCode.NOT_FOUND),
        ("INVALID_ARG", 3, ErrorCode.INVALID_ARGUMENT),
        ("UNAVAILABLE", 4, ErrorCode.UNAVAILABLE),
        ("UNSUPPORTED", 5, ErrorCode.UNSUPPORTED),
        ("ALREADY_EXISTS", 6, ErrorCode.ALREADY_EXISTS),
        ("CANCELLED", 7, ErrorCode.CANCELLED),
    ],
)
def test_error_codes_of_models_become_ours(name, number, code):
    spelled = getattr(pb_utils.TritonError, name)
    assert spelled == number
    error = pb_utils.TritonError("no such row", spelled)
    assert (error.message(), error.code()) == ("no such row", spelled)
    response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", ARRAY)], error)
    answered = answer(request(), response)
    assert answered.status == code
    assert answered.error == "no such row"
    assert answered.outputs() == []


def test_an_error_without_a_code_is_internal():
    assert pb_utils.TritonError("x").code() == pb_utils.TritonError.INTERNAL


def test_an_answer_tells_what_it_holds():
    tensor = pb_utils.Tensor("OUT", ARRAY)
    response = pb_utils.InferenceResponse(output_tensors=[tensor])
    assert response.output_tensors() == [tensor]
    assert pb_utils.get_output_tensor_by_name(response, "OUT") is tensor
    assert pb_utils.get_output_tensor_by_name(response, "NO") is None
    assert not response.has_error()
    assert response.error() is None
    assert response.parameters() == ""


def test_wrong_answers_are_refused():
    with pytest.raises(
        pb_utils.TritonModelException,
        match=r"^Output tensor for inference response should not be empty\.$",
    ):
        pb_utils.InferenceResponse([None])
    with pytest.raises(TypeError, match="found type <class 'numpy.ndarray'>"):
        pb_utils.InferenceResponse([ARRAY])
    with pytest.raises(TypeError, match="error must be a TritonError or None"):
        pb_utils.InferenceResponse([], error="x")


class TestResponseSender:
    FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL

    def sender(self):
        self.received = request()
        return self.received.get_response_sender()

    def test_what_is_sent_is_the_answer(self):
        response = pb_utils.InferenceResponse([])
        sender = self.sender()
        assert pb_utils.sent_response(self.received) is None
        sender.send(response, flags=self.FINAL)
        assert pb_utils.sent_response(self.received) is response

    def test_a_final_mark_may_follow_alone(self):
        response = pb_utils.InferenceResponse([])
        sender = self.sender()
        sender.send(response)
        sender.send(flags=self.FINAL)
        assert pb_utils.sent_response(self.received) is response

    @pytest.mark.parametrize(
        ("calls", "words"),
        [
            ([("response", 5)], "Unable to send response. Unsupported flag provided."),
            (
                [(None, 0)],
                "Inference Response object must be provided when the response flags is set to"
                " zero.",
            ),
            (
                [("response", 0), ("response", 0)],
                "Unable to send response. Non-decoupled model cannot send more than one response.",
            ),
            (
                [(None, 1)],
                "Unable to send response. Non-decoupled model cannot send complete final before"
                " sending a response.",
            ),
            (
                [("response", 1), (None, 1)],
                "Unable to send response. Response sender has been closed.",
            ),
        ],
    )
    def test_calls_out_of_order_are_refused_with_tritons_words(self, calls, words):
        sender = self.sender()
        made = [(response and pb_utils.InferenceResponse([]), flags) for response, flags in calls]
        for response, flags in made[:-1]:
            sender.send(response, flags)
        with pytest.raises(pb_utils.TritonModelException) as caught:
            sender.send(*made[-1])
        assert str(caught.value) == words

    def test_an_answer_that_is_sent_and_returned_is_refused(self):
        self.sender().send(pb_utils.InferenceResponse([]), self.FINAL)
        with pytest.raises(pb_utils.TritonModelException, match="more than one response"):
            answer(self.received, pb_utils.InferenceResponse([]))


class TestRequestsThatModelsMake:
    def make(self, **fields):
        return pb_utils.InferenceRequest(
            inputs=[pb_utils.Tensor("A", ARRAY)],
            requested_output_names=["OUT"],
            model_name="other",
            **fields,
        )

    def test_they_hold_what_they_were_made_of(self):
        made = self.make(
            request_id="7",
            correlation_id="seq",
            timeout=9,
            parameters={"k": 1},
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        assert made.request_id() == "7"
        assert made.correlation_id() == "seq"
        assert made.requested_output_names() == ["OUT"]
        assert made.timeout() == 9
        assert made.parameters() == '{"k": 1}'
        assert [tensor.name() for tensor in made.inputs()] == ["A"]
        assert not made.is_cancelled()

    def test_a_correlation_id_is_a_number_or_text(self):
        with pytest.raises(
            pb_utils.TritonModelException, match="^Correlation ID must be integer or string$"
        ):
            self.make(correlation_id=1.5)

    def test_they_are_sent_by_a_model_that_executes_only(self):
        outside = "^BLS is only supported during the 'execute' function.$"
        with pytest.raises(pb_utils.TritonModelException, match=outside):
            self.make().exec()

    def test_a_trace_of_nothing_may_be_handed_on(self):
        """One of something: `tests/process/test_tracing.py` and `test_spans.py`."""
        assert self.make(trace=pb_utils.InferenceTrace()).trace().get_context() is None


def test_a_request_is_rescheduled_by_its_release_flags():
    received = request()
    assert not pb_utils.is_rescheduled(received)
    received.set_release_flags(flags=pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
    assert pb_utils.is_rescheduled(received)
    received.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)
    assert not pb_utils.is_rescheduled(received)
    with pytest.raises(pb_utils.TritonModelException, match="Unsupported flag"):
        received.set_release_flags(9)


@pytest.mark.parametrize("kind", [bytes, bytearray, np.bytes_])
def test_names_may_be_what_a_tensor_of_texts_holds(kind):
    name = kind("grün".encode())
    tensor = pb_utils.Tensor(name, ARRAY)
    assert tensor.name() == "grün"
    made = pb_utils.InferenceRequest(
        request_id=name, inputs=[tensor], requested_output_names=[name, "plain"], model_name=name
    )
    assert _native.request_target(made) == ("grün", -1)
    assert made.request_id() == "grün"
    assert made.requested_output_names() == ["grün", "plain"]
    assert pb_utils.TritonError(name).message() == "grün"


@pytest.mark.parametrize("name", [b"\xff", 1, None, ["a"]])
def test_what_is_no_text_is_no_name(name):
    with pytest.raises(TypeError):
        pb_utils.InferenceRequest(inputs=[], requested_output_names=[], model_name=name)
