"""Rows 107-109: generate and generate_stream, over real sockets; MLServer's streams beside them."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.fixtures.server import ANSWER_SECONDS, Answer, Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import (
    IDENTITY,
    mlserver_repository,
    tensors,
    write_named,
    write_triton,
)

REPEATING = dedent(
    """
    import time

    import numpy
    import triton_python_backend_utils as pb_utils

    def response(text):
        values = numpy.array([text.encode()], dtype=numpy.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", values)])

    class TritonPythonModel:
        '''Answers with one response for each word.

        `!` is an error, `^` is no response, `~` goes on until the request is cancelled.
        '''

        def execute(self, requests):
            for request in requests:
                sender = request.get_response_sender()
                text = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0].decode()
                for word in text.split():
                    if word == "~":
                        while not request.is_cancelled():
                            sender.send(response("on and on"))
                            time.sleep(0.001)
                        print("cancelled", flush=True)
                    elif word == "!":
                        error = pb_utils.TritonError("no such word")
                        sender.send(pb_utils.InferenceResponse([], error=error))
                    elif word != "^":
                        sender.send(response(word))
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return None
    """
)
COUNT_ERROR = (
    "generate expects model to produce exactly 1 response, use generate stream for model that "
    "generates various number of responses"
)
EVENTS = "text/event-stream; charset=utf-8"
WORDS = "/v2/models/words/generate_stream"


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with an ordinary and a decoupled model."""
    folder = tmp_path_factory.mktemp("generate")
    root = folder / "models"
    write_named(root, "m", "text")
    write_triton(
        root / "half",
        source=IDENTITY.replace("tensor.as_numpy()", "tensor.as_numpy().astype('float16')"),
        config=tensors("input", ("IN", "TYPE_FP32", [1]))
        + tensors("output", ("OUT", "TYPE_FP16", [1])),
    )
    write_triton(
        root / "words",
        source=REPEATING,
        config="model_transaction_policy { decoupled: true }\n"
        + tensors("input", ("IN", "TYPE_STRING", [1]))
        + tensors("output", ("OUT", "TYPE_STRING", [1])),
    )
    with Server.serve(root, log_path=folder / "log") as one:
        yield one


def generate(server: Server, model: str, **members: object) -> Answer:
    return server.post(f"/v2/models/{model}/generate", members)


def stream(server: Server, model: str, **members: object) -> Answer:
    return server.post(f"/v2/models/{model}/generate_stream", members)


def events(answer: Answer) -> list[dict]:
    *found, rest = answer.body.split(b"\n\n")
    assert rest == b""
    return [json.loads(event.removeprefix(b"data: ")) for event in found]


def test_row_107_generate_answers_one_flat_object(server):
    answer = generate(server, "m", INPUT0=[1, 2, 3, 4], id="7", extra=1)
    assert answer.body == (
        b'{"OUTPUT0":[1.0,2.0,3.0,4.0],"id":"7","model_name":"m","model_version":"1"}'
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("form", ["text", "json"])
def test_load_metrics_are_not_told(server, form):
    """As by the peer for models without metrics of a key-value cache."""
    sent = json.dumps({"INPUT0": [1, 2, 3, 4]}).encode()
    headers = {"endpoint-load-metrics-format": form}
    answer = server.request("POST", "/v2/models/m/generate", sent, headers)
    assert answer.status == 200
    assert "endpoint-load-metrics" not in answer.headers


def test_an_output_of_one_element_is_no_array(server):
    assert generate(server, "text", IN="grüße").json()["OUT"] == "grüße"


def test_elements_make_a_batch(server):
    assert generate(server, "m", INPUT0=[0.5] * 8).json()["OUTPUT0"] == [0.5] * 8


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("members", "status", "text"),
    [
        ({"INPUT0": [1, 2, 3]}, 400,
         "The schema can not convert input 'INPUT0' to tensor with proper shape"),
        ({"x": {}}, 400,
         "parameter 'x' has invalid type. It should be either 'int', 'bool', or 'string'."),
        ({}, 400, "[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'm'. "
                  "Got input(s) [], but missing required input(s) ['INPUT0']. Please provide all "
                  "required input(s)."),
        ({"INPUT0": [0] * 36}, 400,
         "[request id: <id_unknown>] inference request batch-size must be <= 8 for 'm'"),
    ],
)  # fmt: skip
def test_row_107_a_request_that_does_not_fit_is_refused(server, path, members, status, text):
    answer = server.post(f"/v2/models/m/{path}", members)
    assert (answer.status, answer.json()) == (status, {"error": text})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
def test_what_is_wrong_before_the_body_is_told(server, path):
    assert server.post(f"/v2/models/nope/{path}", {}).status == 404
    assert server.get(f"/v2/models/m/{path}").status == 405
    assert server.post(f"/v2/models/m/versions/1/{path}", {"INPUT0": [1, 2, 3, 4]}).status == 200
    broken = server.post(f"/v2/models/m/{path}", b"xx")
    assert broken.json()["error"].startswith("failed to parse the request JSON buffer")


def test_a_compressed_generate_is_refused(server):
    answer = server.request("POST", "/v2/models/m/generate", b"x", {"Content-Encoding": "gzip"})
    text = "Unsupported content-encoding, only 'identity' is supported."
    assert (answer.status, answer.json()) == (400, {"error": text})


def test_an_answer_that_json_can_not_carry_is_refused(server):
    text = (
        "sending FP16 data via JSON is not supported. Please use the binary data format for output"
    )
    for ask in (generate, stream):
        answer = ask(server, "half", IN=1)
        assert (answer.status, answer.json()) == (400, {"error": text})


def test_row_107_generate_of_a_decoupled_model_takes_exactly_one_response(server):
    assert generate(server, "words", IN="one").json()["OUT"] == "one"
    for text in ("one two", "^", "one !", "one two three"):
        answer = generate(server, "words", IN=text)
        assert (answer.status, answer.json()) == (200, {"error": COUNT_ERROR})


def test_the_error_of_the_only_response_is_told(server):
    answer = generate(server, "words", IN="!")
    assert answer.status == 400
    assert "no such word" in answer.json()["error"]


def test_row_108_generate_stream_sends_an_event_for_each_response(server):
    answer = stream(server, "words", IN="a b c", id="5")
    assert answer.status == 200
    assert answer.headers["content-type"] == EVENTS
    assert answer.headers["transfer-encoding"] == "chunked"
    assert [event["OUT"] for event in events(answer)] == ["a", "b", "c"]
    assert events(answer)[0] == {"OUT": "a", "id": "5", "model_name": "words", "model_version": "1"}


def test_row_108_an_ordinary_model_answers_one_event(server):
    assert [event["OUTPUT0"] for event in events(stream(server, "m", INPUT0=[1, 2, 3, 4]))] == [
        [1.0, 2.0, 3.0, 4.0]
    ]


def test_row_108_no_response_is_an_empty_success(server):
    answer = stream(server, "words", IN="^")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", EVENTS)


def test_row_108_an_error_after_the_first_response_is_an_event(server):
    found = events(stream(server, "words", IN="a ! b"))
    assert [event.get("OUT") for event in found] == ["a", None, "b"]
    assert "no such word" in found[1]["error"]


def test_an_error_as_the_first_response_is_400_whatever_its_code(server):
    answer = stream(server, "words", IN="! a")
    assert answer.status == 400
    assert "no such word" in answer.json()["error"]


def test_row_109_infer_of_a_decoupled_model_is_refused(server):
    answer = server.infer("words", {"inputs": []})
    text = "HTTP end point doesn't support models with decoupled transaction policy"
    assert (answer.status, answer.json()) == (501, {"error": text})


# --- the stream on the wire ---------------------------------------------------------------------


def raw_post(path: str, document: object, *, version: str = "1.1", more: str = "") -> bytes:
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_SECONDS)


def read_to_end(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_client_of_http_1_0_gets_the_stream_up_to_the_end_of_the_connection(server):
    with connect(server) as client:
        client.sendall(
            raw_post(WORDS, {"IN": "a b"}, version="1.0",
                     more="Connection: keep-alive\r\n")
        )  # fmt: skip
        head, _, body = read_to_end(client).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert b"Connection: close" in head
    assert body.count(b"data: {") == 2
    assert body.endswith(b"}\n\n")


def test_pipelined_streams_and_answers_come_in_their_order(server):
    last = b"GET /v2/models/m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(server) as client:
        client.sendall(
            raw_post(WORDS, {"IN": "a b"})
            + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
            + raw_post(WORDS, {"IN": "c"})
            + raw_post("/v2/models/text/generate", {"IN": "d"})
            + last
        )
        found = read_to_end(client)
    places = [found.index(part) for part in (b'"a"', b'"b"', b'"c"', b'"d"', b'"platform"')]
    assert places == sorted(places)
    assert found.count(b"HTTP/1.1 200 OK") == 5


def test_a_slow_client_gets_every_event_and_hinders_nobody(server):
    words = " ".join(["w" * 1000] * 8000)
    with connect(server) as client:
        client.sendall(raw_post(WORDS, {"IN": words}, more="Connection: close\r\n"))
        wait_until(lambda: client.recv(1, socket.MSG_PEEK), what="the first bytes")
        assert generate(server, "text", IN="other").json()["OUT"] == "other"
        found = read_to_end(client)
    assert found.count(b"data: {") == 8000
    assert found.endswith(b"0\r\n\r\n")


def test_a_model_that_is_faster_than_its_client_is_held_back(serve, tmp_path):
    write_triton(
        tmp_path / "models" / "words",
        source=REPEATING.replace(
            "sender.send(response(word))", "sender.send(response(word * 100))"
        ),
        config="model_transaction_policy { decoupled: true }\n"
        + tensors("input", ("IN", "TYPE_STRING", [1]))
        + tensors("output", ("OUT", "TYPE_STRING", [1])),
    )
    limits = ["--arena-initial-bytes=1048576", "--arena-max-bytes=4194304"]
    held = serve(tmp_path / "models", flags=limits)
    words = " ".join(["w" * 1000] * 300)  # 30 MB of answers
    with connect(held) as client:
        client.sendall(raw_post(WORDS, {"IN": words}, more="Connection: close\r\n"))
        wait_until(lambda: client.recv(1, socket.MSG_PEEK), what="the first bytes")
        frontend = held.process_named("mps frontend 0")
        pieces = 0
        while piece := client.recv(65536):
            pieces += piece.count(b"data: {")
            assert frontend.memory_info().rss < 200 * 1024 * 1024
    assert pieces >= 299  # a mark may be cut by two reads


def test_a_client_that_goes_cancels_its_stream(server):
    with connect(server) as client:
        client.sendall(raw_post(WORDS, {"IN": "~"}))
        wait_until(lambda: client.recv(1, socket.MSG_PEEK), what="the first bytes")
    wait_until(lambda: "cancelled" in server.log_text, what="the model to see it")
    assert generate(server, "words", IN="next").json()["OUT"] == "next"


# --- MLServer -----------------------------------------------------------------------------------

RAISING = dedent(
    """
    from mlserver import MLModel

    class Raising(MLModel):
        async def load(self):
            return True

        async def predict(self, payload):
            raise ValueError("never")
    """
)
ECHO = {"inputs": [{"name": "in", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture(scope="module")
def mlserver_streams(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that speaks MLServer's dialect."""
    folder = tmp_path_factory.mktemp("streams")
    root = mlserver_repository(Path(folder, "models"))
    raising = root / "raising"
    raising.mkdir()
    (raising / "model.py").write_text(RAISING)
    (raising / "model-settings.json").write_text(
        json.dumps({"name": "raising", "implementation": "model.Raising"})
    )
    with Server.start(root, log_path=folder / "log") as one:
        yield one


@pytest.mark.parametrize("path", ["infer_stream", "generate_stream"])
def test_mlserver_streams_an_event_with_cloud_event_headers(mlserver_streams, path):
    answer = mlserver_streams.post(f"/v2/models/echo/{path}", {**ECHO, "id": "abc"})
    assert (answer.status, answer.headers["content-type"]) == (200, EVENTS)
    (event,) = events(answer)
    assert event["outputs"][0]["data"] == [1.0, 2.0]
    assert event["id"] == "abc"
    assert event["parameters"]["headers"] == {
        "Ce-Specversion": "0.3",
        "Ce-Source": "io.seldon.serving.deployment.mlserver",
        "Ce-Type": "io.seldon.serving.inference.response",
        "Ce-Modelid": "echo",
        "Ce-Inferenceservicename": "mlserver",
        "Ce-Endpoint": "echo",
        "Ce-Id": "abc",
        "Ce-Requestid": "abc",
    }


def test_mlserver_generate_is_infer(mlserver_streams):
    found = mlserver_streams.post("/v2/models/echo/generate", {**ECHO, "id": "1"})
    assert found.body == mlserver_streams.infer("echo", {**ECHO, "id": "1"}).body


def test_mlserver_streams_of_a_version(mlserver_streams):
    path = "/v2/models/versioned/versions/v0.1.0/infer_stream"
    assert len(events(mlserver_streams.post(path, ECHO))) == 1


@pytest.mark.parametrize(
    ("model", "body", "status"),
    [("nope", ECHO, 404), ("echo", {}, 422), ("raising", ECHO, 500),
     ("echo", {**ECHO, "parameters": {"binary_data_output": True}}, 400)],
)  # fmt: skip
def test_mlserver_refuses_a_stream_before_its_first_event(mlserver_streams, model, body, status):
    answer = mlserver_streams.post(f"/v2/models/{model}/infer_stream", body)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
