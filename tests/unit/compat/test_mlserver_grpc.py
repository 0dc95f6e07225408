"""Messages, stub and converters of `mlserver.grpc`; expected is what MLServer 1.7.1 answers."""

import asyncio
import json
import sys

import numpy as np
import pytest

from mpserve.compat.mlserver import grpc_messages as messages
from mpserve.compat.mlserver.grpc_converters import (
    ModelInferRequestConverter,
    ModelInferResponseConverter,
)
from mpserve.compat.mlserver.grpc_stub import GRPCInferenceServiceStub
from mpserve.compat.mlserver.rest_response import Response
from mpserve.compat.mlserver.settings_files import load_settings
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

ROWS = [
    ("FP32", [1.5, -2.0]),
    ("FP64", [0.1]),
    ("INT8", [-1]),
    ("UINT8", [200]),
    ("BOOL", [True, False]),
    ("INT64", [-(2**40)]),
    ("UINT64", [2**63]),
    ("INT32", [7]),
    ("UINT32", [2**31]),
    ("INT16", [-3]),
    ("UINT16", [9]),
    ("BYTES", [b"a", b""]),
]


def request(datatype, data):
    given = RequestInput(
        name="x", shape=[len(data)], datatype=datatype, data=data, parameters=Parameters(mine=True)
    )
    return InferenceRequest(
        id="7",
        inputs=[given],
        outputs=[RequestOutput(name="y", parameters=Parameters(content_type="np"))],
        parameters=Parameters(number=3, word="w", left_out=1.5),
    )


@pytest.mark.parametrize("use_raw", [False, True])
@pytest.mark.parametrize(("datatype", "data"), ROWS)
def test_a_request_becomes_a_message_and_back(datatype, data, use_raw):
    message = ModelInferRequestConverter.from_types(
        request(datatype, data), model_name="m", model_version=None, use_raw=use_raw
    )
    assert (message.model_name, message.model_version, message.id) == ("m", "", "7")
    assert len(message.raw_input_contents) == use_raw
    assert message.inputs[0].HasField("contents") != use_raw
    back = ModelInferRequestConverter.to_types(messages.ModelInferRequest.FromString(
        message.SerializeToString()))  # fmt: skip
    assert back.inputs[0].data.root == data
    assert (back.inputs[0].shape, back.inputs[0].datatype) == ([len(data)], datatype)
    assert back.inputs[0].parameters.mine is True
    assert back.outputs[0].parameters.content_type == "np"
    assert back.parameters.model_dump() == {"number": 3, "word": "w"}


@pytest.mark.parametrize("use_raw", [False, True])
def test_a_response_becomes_a_message_and_back(use_raw):
    output = ResponseOutput(name="y", shape=[2], datatype="BYTES", data=["ä", "b"])
    response = InferenceResponse(model_name="m", id="1", outputs=[output])
    message = ModelInferResponseConverter.from_types(response, use_raw=use_raw)
    back = ModelInferResponseConverter.to_types(message)
    assert back.outputs[0].data.root == ["ä".encode(), b"b"]
    assert (back.model_name, back.model_version, back.id) == ("m", None, "1")


def test_raw_halves_are_read():
    raw = np.array([1.5], np.float16).tobytes()
    tensor = {"name": "x", "datatype": "FP16", "shape": [1]}
    message = messages.ModelInferRequest(inputs=[tensor], raw_input_contents=[raw])
    assert ModelInferRequestConverter.to_types(message).inputs[0].data.root == [1.5]


class RecordingChannel:
    def __init__(self):
        self.calls = {}

    def unary_unary(self, path, **serializers):
        self.calls[path] = serializers
        return path

    stream_stream = unary_unary


def test_a_stub_has_the_methods_of_the_service():
    channel = RecordingChannel()
    stub = GRPCInferenceServiceStub(channel)
    assert stub.ModelInfer == "/inference.GRPCInferenceService/ModelInfer"
    assert stub.ModelStreamInfer in channel.calls
    row = channel.calls[stub.ServerLive]
    assert row["request_serializer"](messages.ServerLiveRequest()) == b""
    assert row["response_deserializer"](b"\x08\x01").live is True


def test_a_response_of_a_handler_is_json_with_texts_of_bytes():
    response = Response({"a": b"x"}, status_code=201, headers={"X-A": "b"})
    assert (response.status_code, response.body) == (201, b'{"a":"x"}')
    assert dict(response.raw_headers) == {b"content-type": b"application/json", b"x-a": b"b"}


def test_settings_of_a_folder_and_its_models(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "settings.json").write_text(json.dumps({"http_port": 1}))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model-settings.json").write_text(json.dumps({"implementation": "a.B"}))
    settings, (model,) = asyncio.run(load_settings(str(tmp_path)))
    assert (settings.http_port, settings.model_repository_root) == (1, str(tmp_path))
    assert (model.name, model.parameters.uri) == ("m", str(tmp_path / "m"))
    assert sys.path[0] == str(tmp_path)
