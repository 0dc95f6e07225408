"""The runtime of custom models, with the compatible `mlserver` or the real one if it is there."""

import importlib
import json
import sys
import textwrap

import msgspec
import numpy as np
import pytest

from mpserve.codec.handler_call import HandlerCall, read_answer
from mpserve.compat.mlserver.alias import withdraw_mlserver
from mpserve.errors import ErrorCode, LoadError
from mpserve.model.tensor import Datatype
from mpserve.runtimes.mlserver_model import MLServerModelRuntime
from mpserve.runtimes.mlserver_wire import to_inference_request

from .conformance import RuntimeConformance
from .plain import PlainRequest, PlainResponses, mlserver_context, outputs, tensor, texts

HEADER = """
import asyncio
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, StringCodec, decode_args
from mlserver.errors import MLServerError
from mlserver.utils import get_model_uri
import numpy as np
from typing import List, Optional
"""

ECHO = """
class Model(MLModel):
    async def predict(self, payload):
        outputs = [
            NumpyCodec.encode_output("out_" + i.name, self.decode(i, default_codec=NumpyCodec))
            for i in payload.inputs
        ]
        return types.InferenceResponse(model_name=self.name, outputs=outputs)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model's folder; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    withdraw_mlserver()


@pytest.fixture
def runtime():
    runtime = MLServerModelRuntime(PlainResponses())
    yield runtime
    runtime.unload()


def write(folder, source, module="their_model"):
    (folder / f"{module}.py").write_text(HEADER + textwrap.dedent(source))


def context_of(folder, **settings):
    return mlserver_context(
        folder, {"name": "m", "implementation": "their_model.Model", **settings}
    )


@pytest.fixture
def load(folder, runtime):
    def load(source, **settings):
        write(folder, source)
        runtime.load(context_of(folder, **settings))
        return lambda *inputs, **options: runtime.execute([PlainRequest(*inputs, **options)])[0]

    return load


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


def test_a_load_that_returns_nothing_has_loaded(load):
    loading = "\n    async def load(self):\n        self.loaded = 1\n"
    assert outputs(load(ECHO + loading)(tensor("x", np.zeros(1))))


def test_what_a_model_says_of_itself_is_told(load, runtime, folder):
    source = """
    class Model(MLModel):
        async def load(self):
            self.inputs = [types.MetadataTensor(name="x", datatype="FP32", shape=[-1])]
    """
    write(folder, source)
    completed = runtime.load(context_of(folder, platform="mine"))
    assert json.loads(completed.config.metadata_json) == {
        "name": "m",
        "platform": "mine",
        "versions": [],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [],
        "parameters": {},
    }


def test_a_model_that_can_not_say_what_it_is_serves_all_the_same(runtime, folder):
    write(folder, ECHO + "\n    async def metadata(self):\n        raise RuntimeError('no')\n")
    assert runtime.load(context_of(folder)).config.metadata_json == ""
    assert outputs(runtime.execute([PlainRequest(tensor("x", np.zeros(1)))])[0])


@pytest.mark.parametrize("returned", ["False", "0"])
def test_a_load_that_says_no_is_refused_with_the_reason(load, returned):
    source = f"""
    class Model(MLModel):
        async def load(self):
            return {returned}
    """
    with pytest.raises(LoadError, match=f"'their_model.Model' returned {returned}; return True"):
        load(source)


def test_a_model_that_did_not_load_is_not_asked_to_unload(load, runtime, folder):
    source = """
    import pathlib
    class Model(MLModel):
        async def load(self):
            raise ValueError("no weights")
        async def unload(self):
            pathlib.Path(self.settings.parameters.uri, "unload").touch()
    """
    with pytest.raises(LoadError, match="^ValueError: no weights$"):
        load(source)
    runtime.unload()
    assert not (folder / "unload").exists()


def test_an_implementation_that_is_not_there_is_an_error(folder, runtime):
    write(folder, ECHO)
    with pytest.raises(LoadError, match=r"no class 'Absent'|their_model\.Absent"):
        runtime.load(context_of(folder, implementation="their_model.Absent"))


def test_inputs_that_the_model_declares_while_loading_come_into_the_signature(folder, runtime):
    source = """
    class Model(MLModel):
        async def load(self):
            self.inputs = [types.MetadataTensor(name="x", datatype="FP32", shape=[-1, 4])]
            return True
    """
    write(folder, source)
    completed = runtime.load(context_of(folder))
    (spec,) = completed.config.signature.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("x", Datatype.FP32, (-1, 4))
    assert completed.config.signature.outputs == ()


def test_unload_is_awaited_and_ends_what_the_model_left_running(load, runtime, folder):
    source = """
    import pathlib
    class Model(MLModel):
        async def load(self):
            self.task = asyncio.create_task(self.turn())
            return True
        async def turn(self):
            try:
                await asyncio.Event().wait()
            finally:
                self.write("task")
        async def predict(self, payload):
            return self.encode_response(np.zeros(1))
        async def unload(self):
            self.write("unload")
            return True
        def write(self, name):
            pathlib.Path(self.settings.parameters.uri, name).touch()
    """
    infer = load(source)
    assert not infer(tensor("x", np.zeros(1))).has_error()
    runtime.unload()
    assert (folder / "unload").exists()
    assert (folder / "task").exists()


def test_modules_beside_the_model_are_imported_before_others(load, folder):
    write(folder, "WHERE = 'beside'", module="colorsys")
    source = """
    import importlib, sys
    sys.modules.pop("colorsys", None)
    import colorsys
    class Model(MLModel):
        async def predict(self, payload):
            return self.encode_response([colorsys.WHERE])
    """
    assert outputs(load(source)(tensor("x", np.zeros(1))))["output-1"].tolist() == [[b"beside"]]


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


HANDLERS = """
from mlserver.handlers import custom_handler

class Model(MLModel):
    @custom_handler(rest_path="/whole")
    async def whole(self, payload: dict) -> dict:
        return {"got": payload, "name": self.name}

    @custom_handler(rest_path="/items/{item}", rest_method="get")
    def item(self, item: int, q: int = 3, flag: Optional[bool] = None) -> list:
        return [item, q, flag]

    @custom_handler(rest_path="/members")
    async def members(self, a: List[int], b: str = "b", c: dict = {}) -> list:
        return [a, b, c]

    @custom_handler(rest_path="/teapot")
    async def teapot(self):
        raise MLServerError("short and stout", 418)

    @custom_handler(rest_path="/array")
    async def array(self):
        return np.arange(3)

    @custom_handler(rest_path="/broken")
    async def broken(self):
        raise ValueError("of the model")
"""


class HandlerRequest(PlainRequest):
    def is_handler_call(self):
        return True


def call(runtime, route, *, method="POST", body=b"", query="", **parts):
    told = HandlerCall(method=method, route=route, path=route, query=query, parts=parts, headers=())
    request = HandlerRequest(
        tensor("body", np.frombuffer(body, dtype=np.uint8)), parameters=msgspec.to_builtins(told)
    )
    (response,) = runtime.execute([request])
    if response.has_error():
        return response.failure
    answer = read_answer(response.parameters_json)
    return answer.status, json.loads(outputs(response)["body"].tobytes())


class TestHandlers:
    @pytest.fixture
    def loaded(self, folder, runtime):
        write(folder, HANDLERS)
        self.completed = runtime.load(context_of(folder))
        return runtime

    @pytest.mark.usefixtures("loaded")
    def test_the_routes_are_told_when_the_model_is_loaded(self):
        routes = {(one.method, one.path) for one in self.completed.config.handlers}
        assert {("POST", "/whole"), ("GET", "/items/{item}")} < routes

    @pytest.mark.parametrize(
        ("given", "status", "found"),
        [
            ({"route": "/whole", "body": b'{"a":1}'}, 200, {"got": {"a": 1}, "name": "m"}),
            ({"route": "/items/{item}", "method": "GET", "item": "5"}, 200, [5, 3, None]),
            (
                {"route": "/items/{item}", "method": "GET", "item": "5", "query": "q=7&flag=true"},
                200,
                [5, 7, True],
            ),
            ({"route": "/members", "body": b'{"a":[1],"c":{"x":2}}'}, 200, [[1], "b", {"x": 2}]),
            ({"route": "/members", "body": b'{"a":[1]}', "query": "b=z"}, 200, [[1], "z", {}]),
            ({"route": "/array"}, 200, [0, 1, 2]),
            ({"route": "/teapot"}, 418, {"error": "short and stout"}),
        ],
    )
    def test_arguments_are_taken_from_path_query_and_body(self, loaded, given, status, found):
        assert call(loaded, **given) == (status, found)

    @pytest.mark.parametrize(
        ("given", "kind", "place"),
        [
            ({"route": "/whole", "body": b"[1]"}, "dict_type", ["body"]),
            ({"route": "/whole"}, "missing", ["body"]),
            ({"route": "/whole", "body": b"{"}, "json_invalid", ["body", 1]),
            ({"route": "/items/{item}", "method": "GET", "item": "x"}, "int_parsing",
             ["path", "item"]),
            ({"route": "/items/{item}", "method": "GET", "item": "1", "query": "q=x"},
             "int_parsing", ["query", "q"]),
            ({"route": "/members", "body": b"{}"}, "missing", ["body", "a"]),
            ({"route": "/members", "body": b'{"a":["x"]}'}, "int_parsing", ["body", "a", 0]),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_told_as_with_mlserver(self, loaded, given, kind, place):
        status, found = call(loaded, **given)
        (fault,) = found["detail"]
        assert (status, fault["type"], fault["loc"]) == (422, kind, place)
        assert fault["msg"]

    def test_what_a_handler_raises_is_the_models_failure(self, loaded):
        failure = call(loaded, "/broken")
        assert failure.code is ErrorCode.MODEL_FAILED
        assert "of the model" in failure.message
