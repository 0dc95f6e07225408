"""The runtime of custom models, with the compatible `mlserver` or the real one if it is there."""

import importlib

import numpy as np
import pytest

from mpserve.errors import ErrorCode
from mpserve.runtimes.mlserver_model import MLServerModelRuntime
from mpserve.runtimes.mlserver_wire import to_inference_request
from tests.unit.runtimes.conformance import RuntimeConformance
from tests.unit.runtimes.mlserver.models import ECHO, context_of, write
from tests.unit.runtimes.plain import (
    PlainRequest,
    PlainResponses,
    outputs,
    tensor,
    texts,
)


class TestConformance(RuntimeConformance):
    registered_name = "mlserver"

    @pytest.fixture
    def runtime(self):
        return MLServerModelRuntime(PlainResponses())

    @pytest.fixture
    def context(self, folder):
        write(folder, ECHO)
        return context_of(folder)

    @pytest.fixture
    def broken_context(self, folder):
        write(folder, "import a_module_that_is_not_there")
        return context_of(folder)

    @pytest.fixture
    def good_request(self):
        return PlainRequest(tensor("x", np.array([[1.0, 2.0]], dtype=np.float32)))

    @pytest.fixture
    def bad_request(self):
        class Halves(type(tensor("x", np.zeros(1)))):
            def datatype_name(self):
                return "BF16"

        return PlainRequest(Halves("x", np.zeros(1)))


def test_arrays_go_in_and_out_with_their_datatype_and_a_content_type(load):
    (output,) = load(ECHO)(tensor("x", np.array([[1, 2]], dtype=np.uint8))).output_tensors()
    assert (output.name(), output.datatype_name(), output.shape()) == ("out_x", "UINT8", [1, 2])
    assert output.as_numpy().tolist() == [[1, 2]]
    assert output.parameters_json() == '{"content_type":"np"}'


def test_a_model_may_change_the_arrays_it_is_given(load):
    source = """
    class Model(MLModel):
        async def predict(self, payload):
            array = self.decode_request(payload, default_codec=NumpyRequestCodec)
            array += 1
            return self.encode_response(array)
    """
    given = np.array([[1.0, 2.0]])
    assert outputs(load(source)(tensor("x", given)))["output-1"].tolist() == [[2.0, 3.0]]
    assert given.tolist() == [[1.0, 2.0]]


def test_decode_args_takes_inputs_by_name_and_annotation(load):
    source = """
    class Model(MLModel):
        @decode_args
        async def predict(self, name: List[str], scale: np.ndarray) -> List[str]:
            return [f"{n} {float(s):g}" for n, s in zip(name, scale)]
    """
    infer = load(source)
    inputs = [tensor("scale", np.array([1.5])), tensor("name", texts("é"))]
    assert outputs(infer(*inputs))["output-0"].tolist() == [["é 1.5".encode()]]


def test_the_model_sees_request_settings_and_headers_as_with_mlserver(load, folder):
    source = """
    class Model(MLModel):
        async def load(self):
            self.uri = await get_model_uri(self.settings, wellknown_filenames=["weights.txt"])
            self.greeting = self.settings.parameters.extra["greeting"]
            return True
        async def predict(self, payload):
            facts = [
                self.name, self.version, self.uri, self.greeting, payload.id,
                payload.outputs[0].name, payload.parameters.mood, payload.inputs[0].datatype,
                str(payload.inputs[0].data.root), str(payload.parameters.headers),
            ]
            out = StringCodec.encode_output("facts", facts)
            return types.InferenceResponse(model_name=self.name, outputs=[out])
    """
    (folder / "weights.txt").touch()
    parameters = {"version": "v3", "extra": {"greeting": "hi"}}
    request = PlainRequest(
        tensor("x", np.array([[1, 2]], dtype=np.int8)),
        request_id="id-1",
        parameters={"mood": "good"},
        outputs=["facts"],
    )
    infer = load(source, parameters=parameters)
    answer = outputs(infer(*request.inputs(), request_id="id-1", parameters={"mood": "good"},
                           outputs=["facts"]))  # fmt: skip
    assert [fact.decode() for fact in answer["facts"].ravel()] == [
        *("m", "v3", str(folder / "weights.txt"), "hi", "id-1"),
        *("facts", "good", "INT8", "[1, 2]", "None"),
    ]


def test_the_compatible_package_keeps_arrays_until_a_list_is_asked_for(load):
    load(ECHO)
    types = importlib.import_module("mlserver.types")
    if not hasattr(types.TensorData, "of_array"):
        pytest.skip("the real mlserver is installed")
    given = np.array([[1.0, 2.0]])
    data = to_inference_request(PlainRequest(tensor("x", given)), types).inputs[0].data
    assert np.shares_memory(data.array, given)
    assert data.root == [1.0, 2.0]


def test_text_arrives_as_str_and_what_is_not_utf8_as_bytes(load):
    source = """
    class Model(MLModel):
        async def predict(self, payload):
            kinds = [type(element).__name__ for element in payload.inputs[0].data]
            return self.encode_response(kinds)
    """
    infer = load(source)
    assert outputs(infer(tensor("x", texts("a", "é"))))["output-1"].tolist() == [[b"str"]] * 2
    assert (
        outputs(infer(tensor("x", texts(b"a", b"\xff"))))["output-1"].tolist() == [[b"bytes"]] * 2
    )


def test_a_request_without_an_id_gets_one(load):
    source = """
    class Model(MLModel):
        async def predict(self, payload):
            return self.encode_response([payload.id])
    """
    (made,) = outputs(load(source)(tensor("x", np.zeros(1))))["output-1"].ravel()
    assert len(made) == 36


def test_requests_that_are_alike_are_one_call_of_predict(load, runtime):
    load(
        """
        class Model(MLModel):
            async def predict(self, payload):
                array = self.decode(payload.inputs[0], default_codec=NumpyCodec)
                if -1 in array:
                    raise MLServerError("no negative", 422)
                found = np.stack([array.sum(axis=1), np.full(len(array), len(array))], axis=1)
                return types.InferenceResponse(
                    model_name=self.name, outputs=[NumpyCodec.encode_output("sum", found)]
                )
        """
    )
    rows = [PlainRequest(tensor("x", np.array([[place, 1]]))) for place in range(3)]
    sums = [outputs(response)["sum"].tolist() for response in runtime.execute(rows)]
    assert sums == [[[1, 3]], [[2, 3]], [[3, 3]]]
    bad = PlainRequest(tensor("x", np.array([[-1, 1]])))
    first, refused, third = runtime.execute([rows[0], bad, rows[2]])
    assert refused.failure.message == "no negative"
    assert [outputs(first)["sum"].tolist(), outputs(third)["sum"].tolist()] == [[[1, 1]], [[3, 1]]]


def test_requests_that_are_not_alike_run_at_once(load, runtime):
    source = """
    class Model(MLModel):
        waiting = 0
        async def predict(self, payload):
            self.waiting += 1
            while self.waiting < 2:
                await asyncio.sleep(0)
            return self.encode_response(np.array([self.waiting]))
    """
    load(source)
    requests = [PlainRequest(tensor(name, np.zeros(1))) for name in ("x", "y")]
    both = runtime.execute(requests)
    assert [outputs(response)["output-1"].tolist() for response in both] == [[[2]], [[2]]]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ErrorCode.INVALID_ARGUMENT),
        (422, ErrorCode.INVALID_ARGUMENT),
        (404, ErrorCode.NOT_FOUND),
        (503, ErrorCode.UNAVAILABLE),
        (501, ErrorCode.UNSUPPORTED),
        (500, ErrorCode.MODEL_FAILED),
        (418, ErrorCode.INVALID_ARGUMENT),
    ],
)
def test_an_mlserver_error_keeps_its_words_and_the_meaning_of_its_status(load, status, code):
    source = f"""
    class Model(MLModel):
        async def predict(self, payload):
            raise MLServerError("not today", {status})
    """
    failure = load(source)(tensor("x", np.zeros(1))).failure
    assert (failure.code, failure.message) == (code, "not today")


def test_any_other_exception_is_told_by_its_last_line(load):
    source = """
    class Model(MLModel):
        async def predict(self, payload):
            return {}["missing"]
    """
    failure = load(source)(tensor("x", np.zeros(1))).failure
    assert failure.code is ErrorCode.MODEL_FAILED
    assert failure.message == "KeyError: 'missing'"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("None", "predict returned NoneType; it must return an InferenceResponse"),
        (
            "types.InferenceResponse(model_name='m', outputs=[types.ResponseOutput("
            "name='o', shape=[3], datatype='FP32', data=[1.0, 2.0])])",
            "output 'o' of shape [3] and datatype FP32 does not fit its data:"
            " cannot reshape array of size 2 into shape (3,)",
        ),
        (
            "types.InferenceResponse(model_name='m', outputs=[types.ResponseOutput("
            "name='o', shape=[1], datatype='BYTES', data=[5])])",
            "output 'o' of shape [1] and datatype BYTES does not fit its data:"
            " element 0 is int, not text or bytes",
        ),
    ],
)
def test_an_answer_that_can_not_be_sent_is_the_models_failure(load, answer, words):
    source = f"""
    class Model(MLModel):
        async def predict(self, payload):
            return {answer}
    """
    failure = load(source)(tensor("x", np.zeros(1))).failure
    assert (failure.code, failure.message) == (ErrorCode.MODEL_FAILED, words)


def test_outputs_of_lists_are_sent_with_their_datatype_and_parameters(load):
    source = """
    class Model(MLModel):
        async def predict(self, payload):
            return types.InferenceResponse(
                model_name="m",
                parameters=types.Parameters(content_type="np", note=3),
                outputs=[
                    types.ResponseOutput(name="n", shape=[2, 2], datatype="FP32",
                                         data=[[1, None], [3, 4]]),
                    types.ResponseOutput(name="t", shape=[2], datatype="BYTES", data=["a", b"b"]),
                    types.ResponseOutput(name="one", shape=[1], datatype="BYTES", data="text"),
                ],
            )
    """
    response = load(source)(tensor("x", np.zeros(1)))
    answer = outputs(response)
    assert answer["n"].dtype == np.float32
    np.testing.assert_equal(answer["n"].tolist(), [[1.0, float("nan")], [3.0, 4.0]])
    assert answer["t"].tolist() == [b"a", b"b"]
    assert answer["one"].tolist() == [b"text"]
    assert response.parameters_json == '{"content_type":"np","note":3}'


def test_predict_stream_answers_each_request_by_default(load, runtime):
    source = """
    class Model(MLModel):
        async def predict(self, payload):
            async def once():
                yield payload
            if payload.id == "outer":
                payload.id = "inner"
                return [answer async for answer in self.predict_stream(once())][0]
            return self.encode_response([payload.id])
    """
    answer = load(source)(tensor("x", np.zeros(1)), request_id="outer")
    assert outputs(answer)["output-1"].tolist() == [[b"inner"]]
