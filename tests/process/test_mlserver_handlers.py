"""Paths of MLServer models' own, on a real server."""

import http.client
import json

import pytest

from tests.fixtures.waiting import wait_until

MODEL = """
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler


class Request:
    # The part of Starlette's that is used here: what a scope and a body become.
    def __init__(self, scope, receive):
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self._receive = receive

    async def body(self):
        return (await self._receive())["body"]


class Response:
    def __init__(self, body, status_code, headers):
        self.body, self.status_code = body, status_code
        self.raw_headers = [(k.encode(), v.encode()) for k, v in headers.items()]


class Model(MLModel):
    @custom_handler(rest_path="/my/endpoint")
    async def mine(self, payload: dict) -> dict:
        return {"got": payload, "name": self.name}

    @custom_handler(rest_path="/my/{item}/x", rest_method="GET")
    async def get(self, item: str, q: int = 3) -> list:
        return [item, q]

    @custom_handler(rest_path="/raw")
    async def raw(self, request: Request) -> Response:
        headers = {"Content-Type": "text/plain", "X-Y": request.headers.get("x-z", "")}
        return Response(await request.body() + b"!", 201, headers)

    @custom_handler(rest_path="/teapot")
    async def teapot(self):
        raise MLServerError("short and stout", 418)

    @custom_handler(rest_path="/v2/health/live", rest_method="GET")
    async def clash(self):
        return "clash"
"""


@pytest.fixture
def server(start, tmp_path):
    folder = tmp_path / "models" / "own"
    folder.mkdir(parents=True)
    (folder / "own.py").write_text(MODEL)
    settings = {"name": "own", "implementation": "own.Model"}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    return start(tmp_path / "models")


def test_methods_are_served_at_their_paths_as_long_as_the_model_is_loaded(server):
    answer = server.post("/my/endpoint", {"a": 1})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"got": {"a": 1}, "name": "own"}
    assert server.get("/my/a%20b/x?q=7").json() == ["a b", 7]
    wrong = server.get("/my/endpoint")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert server.post("/my/endpoint", []).json()["detail"][0]["loc"] == ["body"]
    assert server.post("/teapot").json() == {"error": "short and stout"}
    assert server.get("/v2/health/live").json() == {"live": True}

    assert server.unload("own").status == 200
    wait_until(lambda: server.post("/my/endpoint", {}).status == 404, what="the path to be gone")
    assert server.load("own").status == 200
    assert server.post("/my/endpoint", {}).status == 200


def test_a_method_may_take_the_request_and_give_the_response(server):
    answer = server.request("POST", "/raw", b"abc", {"X-Z": "zz"})
    assert (answer.status, answer.body) == (201, b"abc!")
    assert (answer.headers["content-type"], answer.headers["x-y"]) == ("text/plain", "zz")


def test_a_status_that_is_no_other_errors_is_kept(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/teapot")
    assert connection.getresponse().status == 418
    connection.close()
