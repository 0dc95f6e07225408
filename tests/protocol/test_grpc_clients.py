"""Triton's own gRPC client libraries against the server."""

import asyncio
import queue

import numpy as np
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS
from tests.fixtures.pace import within

client = pytest.importorskip("tritonclient.grpc")
aio = pytest.importorskip("tritonclient.grpc.aio")

pytestmark = BOTH_TRANSPORTS
VALUES = np.arange(4, dtype=np.float32).reshape(1, 4)


def input0(module=client):
    tensor = module.InferInput("INPUT0", [1, 4], "FP32")
    tensor.set_data_from_numpy(VALUES)
    return tensor


@pytest.fixture
def triton_client(triton):
    with client.InferenceServerClient(triton.grpc_address) as one:
        yield one


def test_the_client_asks_everything(triton_client):
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("m")
    assert not triton_client.is_model_ready("nobody")
    assert triton_client.get_server_metadata(as_json=True)["name"] == "triton"
    assert triton_client.get_model_metadata("m").inputs[0].name == "INPUT0"
    assert triton_client.get_model_config("m").config.max_batch_size == 8
    assert "m" in [row.name for row in triton_client.get_model_repository_index().models]
    statistics = triton_client.get_inference_statistics("m").model_stats[0]
    assert (statistics.name, statistics.version) == ("m", "1")


def test_the_client_infers(triton_client):
    outputs = [client.InferRequestedOutput("OUTPUT0")]
    result = triton_client.infer("m", [input0()], outputs=outputs, request_id="7")
    assert result.get_response().id == "7"
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), VALUES)


def test_the_client_asks_for_classes(triton_client):
    outputs = [client.InferRequestedOutput("OUTPUT0", class_count=1)]
    result = triton_client.infer("m", [input0()], outputs=outputs)
    assert result.as_numpy("OUTPUT0").tolist() == [[b"3.000000:3:three"]]


def test_the_client_sends_texts(triton_client):
    tensor = client.InferInput("IN", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"a\xff"], dtype=np.object_))
    result = triton_client.infer("text", [tensor])
    assert result.as_numpy("OUT").tolist() == [b"a\xff"]


def test_the_client_sees_errors(triton_client):
    with pytest.raises(client.InferenceServerException) as caught:
        triton_client.infer("nobody", [input0()])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert caught.value.message() == "Request for unknown model: 'nobody' is not found"


def test_the_client_infers_many_at_once(triton_client):
    answers = queue.Queue()
    for _ in range(50):
        triton_client.async_infer(
            "m", [input0()], callback=lambda result, error: answers.put((result, error))
        )
    for _ in range(50):
        result, error = answers.get(timeout=within(10))
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), VALUES)


def test_the_client_streams(triton_client):
    answers = queue.Queue()
    triton_client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(5):
        triton_client.async_stream_infer("m", [input0()], request_id=str(number))
    ids = [answers.get(timeout=within(10))[0].get_response().id for _ in range(5)]
    triton_client.stop_stream()
    assert ids == ["0", "1", "2", "3", "4"]


def test_the_client_loads_and_unloads(triton_client):
    triton_client.unload_model("raising")
    assert not triton_client.is_model_ready("raising")
    triton_client.load_model("raising")
    assert triton_client.is_model_ready("raising")


def test_the_asynchronous_client_infers_and_streams(triton):
    async def run():
        async with aio.InferenceServerClient(triton.grpc_address) as one:
            assert await one.is_server_ready()
            results = await asyncio.gather(*(one.infer("m", [input0(aio)]) for _ in range(20)))

            async def requests():
                for number in range(3):
                    yield {
                        "model_name": "m",
                        "inputs": [input0(aio)],
                        "request_id": str(number),
                    }

            streamed = [
                result.get_response().id async for result, _ in one.stream_infer(requests())
            ]
            return results, streamed

    results, streamed = asyncio.run(run())
    for result in results:
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), VALUES)
    assert streamed == ["0", "1", "2"]
