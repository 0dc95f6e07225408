"""Headers in the parameters of MLServer's requests and responses."""

import pytest

from mpserve.model.binary_metadata import unmarked
from mpserve.runtimes.mlserver_headers import request_headers, take_response_headers


def test_the_last_of_repeated_headers_counts():
    headers = request_headers(b"a\0001\0b\0\0a\0002\0", model_name="m", request_id="")
    assert headers == {"a": "2", "b": "", "Ce-Modelid": "m", "Ce-Endpoint": "m"}


def test_the_id_of_a_request_is_told_where_it_has_one():
    headers = request_headers(b"a\0001\0", model_name="m", request_id="7")
    assert (headers["Ce-Id"], headers["Ce-Requestid"]) == ("7", "7")


def test_bytes_of_a_header_are_latin_1():
    assert request_headers(b"a\0\xe9\0", model_name="", request_id="")["a"] == "\xe9"


def test_headers_of_a_response_leave_its_parameters():
    parameters = {"kept": 1, "headers": {"a": 1, "b": "x\0y", "c": "\u20ac"}}
    assert take_response_headers(parameters) == b"a\0001\0c\0?\0"
    assert parameters == {"kept": 1}


def test_a_response_without_headers_has_none():
    assert take_response_headers({"headers": "text"}) == take_response_headers({}) == b""


def test_binary_metadata_are_bytes_both_ways():
    taken = take_response_headers({"headers": {"x-bin": b"\0\xff", "y": b"z", "z-bin": "text"}})
    assert taken == b"x-bin\0\x01AP8=\0y\0b'z'\0z-bin\0text\0"
    seen = request_headers(b"x-bin\0\x01AP8\0h-bin\0AP8\0", model_name="", request_id="")
    assert (seen["x-bin"], seen["h-bin"]) == (b"\0\xff", "AP8")


@pytest.mark.parametrize(
    ("text", "value"),
    [("", b""), ("YQ", b"a"), ("YQ==", b"a"), ("YQ,Yg", b"b"), ("YQ, Yg==", b"b"), ("?", b"")],
)
def test_base64_of_metadata_may_be_without_padding_and_several_values(text, value):
    assert unmarked("\x01" + text) == value
