"""Tensors of many mebibytes go in and come out unchanged."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.fixtures.binary_tensor import binary_body
from tests.fixtures.pace import within

MEBIBYTE = 1 << 20


def binary_request(tensor: np.ndarray) -> tuple[bytes, dict[str, str]]:
    body, header_length = binary_body(tensor)
    return body, {"Inference-Header-Content-Length": str(header_length)}


def send(server, tensor: np.ndarray) -> np.ndarray:
    body, headers = binary_request(tensor)
    answer = server.request("POST", "/v2/models/m/infer", body, headers)
    assert answer.status == 200, answer.body[:200]
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert output["shape"] == list(tensor.shape)
    assert output["parameters"]["binary_data_size"] == tensor.nbytes
    return np.frombuffer(answer.body[length:], np.float32)


@pytest.mark.parametrize("mebibytes", [1, 16, 96])
def test_a_binary_tensor_comes_back_as_it_was(serve, repository, mebibytes):
    repository.add("identity", "m")
    server = serve(repository.path)
    random = np.random.default_rng(mebibytes)
    for size in (mebibytes * MEBIBYTE // 4, mebibytes * MEBIBYTE // 4 - 7):
        tensor = random.random(size, np.float32)
        np.testing.assert_array_equal(send(server, tensor), tensor)


def test_large_tensors_at_once_are_not_mixed_up(serve, repository):
    repository.add("identity", "m", config="instance_group [ { count: 2 kind: KIND_CPU } ]")
    server = serve(repository.path)
    tensors = [np.full(4 * MEBIBYTE // 4, number, np.float32) for number in range(8)]
    with ThreadPoolExecutor(4) as clients:
        for tensor, received in zip(
            tensors, clients.map(lambda one: send(server, one), tensors), strict=True
        ):
            np.testing.assert_array_equal(received, tensor)


def test_a_binary_tensor_past_the_arena_is_refused_and_the_server_goes_on(serve, repository):
    repository.add("identity", "m")
    server = serve(
        repository.path, flags=["--arena-max-bytes=200000000", "--http-max-input-size=50000000"]
    )
    body, headers = binary_request(np.zeros(24_000_000, np.float32))
    assert server.request("POST", "/v2/models/m/infer", body[:1], headers).status == 400
    head = (
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n"
        f"Inference-Header-Content-Length: {headers['Inference-Header-Content-Length']}\r\n"
    )
    too_large = f"{head}Content-Length: {1 << 33}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=within(10)) as client:
        client.sendall(too_large.encode())
        assert client.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"
    tensor = np.arange(
        15_000_000, dtype=np.float32
    )  # 60 MB: past the JSON limit, not past the arena
    np.testing.assert_array_equal(send(server, tensor), tensor)
