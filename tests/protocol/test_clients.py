"""The client libraries that users have: NVIDIA's over HTTP, and `requests`."""

import numpy as np
import pytest
import requests

from tests.fixtures.pace import within
from tests.fixtures.server import Server

httpclient = pytest.importorskip("tritonclient.http")


@pytest.fixture
def client(triton: Server):
    with httpclient.InferenceServerClient(triton.address) as one:
        yield one


def given(name: str, array: np.ndarray, word: str, *, binary: bool):
    tensor = httpclient.InferInput(name, list(array.shape), word)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_health_metadata_and_index(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert not client.is_model_ready("nope")
    assert client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("m")["name"] == "m"
    assert client.get_model_config("m")["max_batch_size"] == 8
    assert {row["name"] for row in client.get_model_repository_index()} >= {"m", "pair"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_numbers_go_and_come_back(client, binary, coding):
    array = np.arange(8, dtype=np.float32).reshape(2, 4) / 3
    result = client.infer(
        "m",
        [given("INPUT0", array, "FP32", binary=binary)],
        outputs=[httpclient.InferRequestedOutput("OUTPUT0", binary_data=binary)],
        request_id="42",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert np.array_equal(result.as_numpy("OUTPUT0"), array)
    assert result.get_response()["id"] == "42"


@pytest.mark.parametrize("binary", [True, False])
def test_texts_go_and_come_back(client, binary):
    array = np.array(["grüße".encode(), b"", b"a" * 1000], dtype=np.object_)
    result = client.infer(
        "all_types",
        [given("IN_STRING", array, "BYTES", binary=binary)],
        outputs=[httpclient.InferRequestedOutput("OUT_STRING", binary_data=binary)],
    )
    expected = array.tolist() if binary else [element.decode() for element in array]
    assert result.as_numpy("OUT_STRING").tolist() == expected  # the client gives text from JSON


def test_classes_are_asked_for_by_number(client):
    array = np.array([[1, 4, 3, 2]], dtype=np.float32)
    result = client.infer(
        "m",
        [given("INPUT0", array, "FP32", binary=True)],
        outputs=[httpclient.InferRequestedOutput("OUTPUT0", binary_data=True, class_count=2)],
    )
    assert result.as_numpy("OUTPUT0").tolist() == [[b"4.000000:1:one", b"3.000000:2:two"]]


def test_a_large_tensor_goes_and_comes_back(client):
    array = np.random.default_rng(7).standard_normal(4 << 20).astype(np.float32)
    result = client.infer("all_types", [given("IN_FP32", array, "FP32", binary=True)],
                          outputs=[httpclient.InferRequestedOutput("OUT_FP32")])  # fmt: skip
    assert np.array_equal(result.as_numpy("OUT_FP32"), array)


def test_many_requests_at_once_get_their_own_answers(triton):
    with httpclient.InferenceServerClient(triton.address, concurrency=8) as client:
        waiting = []
        for number in range(64):
            array = np.full((1, 4), number, dtype=np.float32)
            tensor = given("INPUT0", array, "FP32", binary=bool(number % 2))
            waiting.append((number, client.async_infer("m", [tensor])))
        for number, one in waiting:
            assert (one.get_result().as_numpy("OUTPUT0") == number).all()


def test_errors_become_exceptions_with_the_servers_words(client):
    array = np.zeros((1, 3), dtype=np.float32)
    with pytest.raises(httpclient.InferenceServerException, match="unexpected shape for input"):
        client.infer("m", [given("INPUT0", array, "FP32", binary=True)])


def test_load_and_unload(client):
    client.unload_model("teller")
    assert not client.is_model_ready("teller")
    client.load_model("teller")
    assert client.is_model_ready("teller")


def test_requests_understands_compressed_answers(mlserver):
    tensor = {"name": "x", "shape": [200], "datatype": "FP32", "data": [0.5] * 200}
    answer = requests.post(
        f"{mlserver.url}/v2/models/echo/infer", json={"inputs": [tensor]}, timeout=within(10)
    )
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["outputs"][0]["data"] == [0.5] * 200


@pytest.mark.parametrize("binary", [True, False])
def test_nvidias_client_can_speak_to_mlservers_dialect(mlserver, binary):
    array = np.arange(4, dtype=np.float32).reshape(1, 4)
    with httpclient.InferenceServerClient(mlserver.address) as client:
        assert client.is_server_ready()
        result = client.infer(
            "echo",
            [given("x", array, "FP32", binary=binary)],
            outputs=[httpclient.InferRequestedOutput("out", binary_data=binary)],
        )
    assert np.array_equal(result.as_numpy("out"), array)
