"""Handlers of their own that custom models of MLServer have."""

import json

import msgspec
import numpy as np
import pytest

from mpserve.codec.handler_call import HandlerCall, read_answer
from mpserve.errors import ErrorCode
from tests.unit.runtimes.mlserver.models import context_of, write
from tests.unit.runtimes.plain import (
    PlainRequest,
    outputs,
    tensor,
)

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
