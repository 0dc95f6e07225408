"""Headers of requests and answers in the parameters that MLServer's models see and give."""

import http.client
import json
import re
from contextlib import closing
from textwrap import dedent

import grpc
import numpy as np
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, MLSERVER, Calls
from tests.fixtures.server import ANSWER_SECONDS, Server
from tests.protocol.models import write_mlserver

pytestmark = BOTH_TRANSPORTS

TELLS = dedent(
    """
    import json
    from mlserver import MLModel
    from mlserver.types import InferenceResponse, Parameters, ResponseOutput

    GIVEN = {"X-Model": "yes", "Ce-Type": "mine", "Content-Length": "1", "x bad": "1",
             "x-cut": "a\\r\\nb: c", "X-Number": 7, "X-Name": "é",
             "X-Raw-Bin": b"\\0\\xfe", "X-Text-Bin": "no bytes"}

    class Again(MLModel):
        async def load(self):
            return True

        async def predict(self, payload):
            return Tells.answer(self, payload)

    class Tells(MLModel):
        async def load(self):
            return True

        def answer(self, payload):
            headers = payload.parameters.headers
            bytes_seen = {name: list(value) for name, value in headers.items()
                          if isinstance(value, bytes)}
            seen = {"id": payload.id, "headers": headers | bytes_seen,
                    "others": payload.parameters.model_extra}
            return InferenceResponse(
                model_name=self.name,
                parameters=Parameters(headers=dict(GIVEN), kept=1),
                outputs=[ResponseOutput(name="out", shape=[1], datatype="BYTES",
                                        data=[json.dumps(seen).encode()])],
            )

        async def predict(self, payload):
            return self.answer(payload)

        async def predict_stream(self, payloads):
            async for payload in payloads:
                yield self.answer(payload)
    """
)
EVENTS = {
    "Ce-Specversion": "0.3",
    "Ce-Source": "io.seldon.serving.deployment.mlserver",
    "Ce-Type": "io.seldon.serving.inference.request",
    "Ce-Inferenceservicename": "mlserver",
    "Ce-Modelid": "tells",
    "Ce-Endpoint": "tells",
}
ANSWER_EVENTS = {name.lower(): value for name, value in EVENTS.items()} | {
    "ce-type": "io.seldon.serving.inference.response"
}
TENSOR = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}


@pytest.fixture(scope="module")
def server(nothing_is_left_behind, grpc_transport, tmp_path_factory):
    folder = tmp_path_factory.mktemp("headers")
    models = folder / "models"
    write_mlserver(models / "tells", "model.Tells", source=TELLS)
    write_mlserver(models / "again", "model.Again", source=TELLS)
    with Server.start(models, log_path=folder / "log") as one:
        yield one


def post(server, body, path="infer", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_SECONDS)
    with closing(connection):
        connection.request("POST", f"/v2/models/tells/{path}", body, headers)
        answer = connection.getresponse()
        return answer, answer.read()


def ask(server, content, **headers):
    """Return the head, the JSON, and what the model saw."""
    answer, body = post(server, json.dumps(content), **headers)
    assert answer.status == 200, body
    told = json.loads(body)
    return answer.headers, told, json.loads(told["outputs"][0]["data"][0])


# The core answers the first; the second is Python's, because of what is said of compression.
@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip;q=0"}], ids=["native", "python"])
def test_a_model_sees_the_headers_of_http(server, more):
    _, _, seen = ask(server, {"id": "7", "inputs": [TENSOR]}, **{"X-Mine": "a", **more})
    headers = seen["headers"]
    assert headers["x-mine"] == "a"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert {name: headers[name] for name in EVENTS} == EVENTS
    assert headers["Ce-Id"] == headers["Ce-Requestid"] == seen["id"] == "7"


@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip;q=0"}], ids=["native", "python"])
def test_an_id_that_is_made_up_is_the_one_the_model_sees(server, more):
    _, told, seen = ask(server, {"inputs": [TENSOR]}, **more)
    assert re.fullmatch(r"[0-9a-f-]{36}", told["id"])
    assert seen["id"] == seen["headers"]["Ce-Id"] == told["id"]


@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip;q=0"}], ids=["native", "python"])
def test_headers_of_a_model_are_those_of_its_answer(server, more):
    head, told, _ = ask(server, {"inputs": [TENSOR]}, **more)
    assert (head["X-Model"], head["X-Number"]) == ("yes", "7")
    assert told["parameters"] == {"kept": 1}


@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip;q=0"}], ids=["native", "python"])
def test_a_model_can_not_break_the_head(server, more):
    head, _, _ = ask(server, {"inputs": [TENSOR]}, **more)
    assert head.get_all("Ce-Type") == ["io.seldon.serving.inference.response"]
    assert len(head.get_all("Content-Length")) == 1
    assert not [name for name in head if name in {"b", "x bad", "x-cut"}]


def test_parameters_of_the_request_stay_beside_the_headers(server):
    content = {"parameters": {"mine": 2, "headers": {"fake": "1"}}, "inputs": [TENSOR]}
    _, _, seen = ask(server, content)
    assert seen["others"] == {"mine": 2}
    assert "fake" not in seen["headers"]


def test_of_a_repeated_header_the_first_counts(server):
    body = json.dumps({"inputs": [TENSOR]})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_SECONDS)
    with closing(connection):
        connection.putrequest("POST", "/v2/models/tells/infer")
        for name, value in (("X-A", "1"), ("X-A", "2"), ("Content-Length", str(len(body)))):
            connection.putheader(name, value)
        connection.endheaders(body.encode())
        told = json.loads(connection.getresponse().read())
    assert json.loads(told["outputs"][0]["data"][0])["headers"]["x-a"] == "1"


def test_a_large_binary_tensor_comes_with_its_headers(server):
    count = 100_000
    tensor = {**TENSOR, "shape": [count], "parameters": {"binary_data_size": 4 * count}}
    del tensor["data"]
    text = json.dumps({"inputs": [tensor]}).encode()
    body = text + np.zeros(count, dtype=np.float32).tobytes()
    length = {"Inference-Header-Content-Length": str(len(text)), "X-Mine": "large"}
    answer, told = post(server, body, **length)
    assert answer.status == 200
    assert json.loads(json.loads(told)["outputs"][0]["data"][0])["headers"]["x-mine"] == "large"


def test_an_event_has_the_headers_in_its_parameters(server):
    content = json.dumps({"id": "7", "inputs": [TENSOR]})
    answer, body = post(server, content, "infer_stream", **{"X-Mine": "a"})
    assert "X-Model" not in answer.headers
    event = json.loads(body.removeprefix(b"data: "))
    assert event["parameters"]["headers"]["X-Model"] == "yes"
    assert event["parameters"]["headers"]["X-Name"] == "é"
    assert event["parameters"]["headers"]["Ce-Type"] == "io.seldon.serving.inference.response"
    assert json.loads(event["outputs"][0]["data"][0])["headers"]["x-mine"] == "a"


@pytest.mark.parametrize("raw", [True, False], ids=["native", "python"])
def test_a_model_sees_the_metadata_of_grpc_and_gives_some(server, raw):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1]}
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)
        request = calls.infer_request(
            "tells",
            tensor if raw else {**tensor, "contents": {"fp32_contents": [1.5]}},
            raw=(np.float32(1.5).tobytes(),) if raw else (),
            id="9",
        )
        sent = (("x-mine", "1"), ("x-mine", "2"), ("x-raw-bin", b"\0\xff"), ("x-none-bin", b""))
        answer, call = with_call(channel, request, sent)
    text = (
        answer.raw_output_contents[0][4:] if raw else answer.outputs[0].contents.bytes_contents[0]
    )
    headers = json.loads(text)["headers"]
    assert headers["x-mine"] == "2"
    assert (headers["x-raw-bin"], headers["x-none-bin"]) == ([0, 255], [])
    assert headers["user-agent"].startswith("grpc-python")
    assert {name: headers[name] for name in EVENTS} == EVENTS
    assert headers["Ce-Id"] == "9"
    trailing = dict(call.trailing_metadata())
    assert (trailing["x-model"], trailing["x-number"]) == ("yes", "7")
    assert trailing["x-raw-bin"] == b"\0\xfe"
    assert "x-cut" not in trailing
    assert "x-text-bin" not in trailing
    assert events_of(call) == ANSWER_EVENTS | {"ce-id": "9", "ce-requestid": "9"}
    assert "headers" not in answer.parameters
    assert answer.parameters["kept"].int64_param == 1


def test_a_large_message_of_grpc_comes_with_its_metadata(server):
    count = 100_000
    tensor = {"name": "x", "datatype": "FP32", "shape": [count]}
    with grpc.insecure_channel(server.grpc_address) as channel:
        request = Calls(channel, MLSERVER).infer_request("tells", tensor, raw=(bytes(4 * count),))
        answer, _ = with_call(channel, request, (("x-mine", "large"),))
    assert json.loads(answer.raw_output_contents[0][4:])["headers"]["x-mine"] == "large"


def test_a_stream_of_grpc_ends_with_the_metadata_of_its_last_answer(server):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1.5]}}
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)
        requests = [calls.infer_request("tells", tensor) for _ in range(2)]
        stream = calls.stream(iter(requests), metadata=(("x-mine", "1"),))
        answers = list(stream)
        assert dict(stream.trailing_metadata())["x-model"] == "yes"
        assert events_of(stream).items() >= ANSWER_EVENTS.items()
    seen = [json.loads(one.outputs[0].contents.bytes_contents[0]) for one in answers]
    assert [one["headers"]["x-mine"] for one in seen] == ["1", "1"]


def test_a_failure_over_grpc_is_no_event(server):
    tensor = {"name": "x", "datatype": "FP32", "shape": [2]}
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)
        for request in (
            calls.infer_request("tells", tensor, raw=(b"",), id="9"),
            calls.infer_request("nobody", tensor, raw=(bytes(8),), id="9"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                with_call(channel, request, ())
            assert events_of(caught.value) == {}


@pytest.mark.parametrize("model", ["tells", "again"], ids=["of the model", "message by message"])
def test_a_stream_that_fails_behind_an_answer_is_no_event(server, model):
    good = {"name": "x", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1.5]}}
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)
        bad = calls.infer_request(model, {**good, "shape": [2]})
        stream = calls.stream(iter([calls.infer_request(model, good), bad]))
        assert next(stream).model_name == model
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    assert events_of(caught.value) == {}
    assert "x-model" not in dict(caught.value.trailing_metadata())


def events_of(call):
    """The CloudEvents attributes behind an answer; each at most once."""
    found = [(name, value) for name, value in call.trailing_metadata() if name.startswith("ce-")]
    assert len(found) == len(dict(found))
    return dict(found)


def with_call(channel, request, metadata):
    answer = MLSERVER.message("inference.ModelInferResponse")
    method = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return method.with_call(request, metadata=metadata, timeout=ANSWER_SECONDS)


@pytest.mark.parametrize("raw", [True, False], ids=["native", "python"])
def test_an_id_that_metadata_can_not_carry_is_left_out_of_it(server, raw):
    tensor = {"name": "x", "datatype": "FP32", "shape": [1]}
    with grpc.insecure_channel(server.grpc_address) as channel:
        request = Calls(channel, MLSERVER).infer_request(
            "tells",
            tensor if raw else {**tensor, "contents": {"fp32_contents": [1.5]}},
            raw=(np.float32(1.5).tobytes(),) if raw else (),
            id="é\0x-evil\0",
        )
        answer, call = with_call(channel, request, ())
    assert answer.id == "é\0x-evil\0"
    assert events_of(call) == ANSWER_EVENTS
    assert "x-evil" not in dict(call.trailing_metadata())
