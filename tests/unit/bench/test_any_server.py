"""Requests for models of which only the metadata are known."""

import json

import pytest

from bench.errors import UsageError
from bench.loading.open_loop import http_bytes
from bench.measuring.any_server import Input, infer_request_for, parse_shapes, parse_url


def test_an_url_is_a_host_and_a_port():
    address = parse_url("http://example.org:8000/")

    assert (address.host, address.port) == ("example.org", 8000)
    assert parse_url("http://127.0.0.1").port == 80


@pytest.mark.parametrize("url", ["https://a:1", "a:1", "http://", "http://a/v2"])
def test_what_is_no_such_url_is_refused(url):
    with pytest.raises(UsageError, match="http://HOST:PORT"):
        parse_url(url)


def test_shapes_are_read_by_input():
    assert parse_shapes(("IN=1,16", "B=2")) == {"IN": (1, 16), "B": (2,)}


@pytest.mark.parametrize("word", ["IN", "=1", "IN=", "IN=-1", "IN=1,x"])
def test_what_is_no_shape_is_refused(word):
    with pytest.raises(UsageError, match="NAME=1,16"):
        parse_shapes((word,))


INPUTS = (
    Input(name="A", datatype="FP32", shape=(2, 2)),
    Input(name="B", datatype="BYTES", shape=(1, 3)),
)


def test_a_json_request_has_as_many_values_as_its_shapes_say():
    request = infer_request_for("my model", INPUTS, binary=False)
    document = json.loads(request.body)

    assert request.path == "/v2/models/my%20model/infer"
    assert [len(one["data"]) for one in document["inputs"]] == [4, 3]
    assert document["inputs"][1]["data"] == ["text"] * 3


def test_a_binary_request_sends_numbers_raw_and_text_as_json():
    request = infer_request_for("m", INPUTS, binary=True)
    split = int(request.headers["Inference-Header-Content-Length"])
    document = json.loads(request.body[:split])

    assert document["inputs"][0]["parameters"] == {"binary_data_size": 16}
    assert "parameters" not in document["inputs"][1]
    assert document["parameters"] == {"binary_data_output": True}
    assert len(request.body) == split + 16


def test_a_datatype_without_values_is_refused():
    with pytest.raises(UsageError, match="BF16"):
        infer_request_for("m", (Input(name="A", datatype="BF16", shape=(1,)),), binary=False)


def test_a_request_is_written_whole_for_the_open_loop():
    request = infer_request_for("m", INPUTS, binary=False)
    head, _, body = http_bytes(request, host="h:1").partition(b"\r\n\r\n")

    assert head.startswith(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\n")
    assert f"Content-Length: {len(request.body)}".encode() in head
    assert body == request.body
