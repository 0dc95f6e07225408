"""Headers that become parameters."""

import json

import pytest

from mpserve.errors import InvalidRequest
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.model.request import InferRequest

REQUEST = InferRequest(inputs=(), parameters_json='{"x-a":1,"mine":true}')


def forwarded(pattern: str, *headers: tuple[bytes, bytes]) -> dict:
    return json.loads(HeaderForwarding(pattern).apply(REQUEST, headers).parameters_json)


def test_headers_that_the_pattern_finds_are_added_under_their_own_spelling():
    found = forwarded("x-", (b"X-Tenant", b"t"), (b"Host", b"h"))
    assert found == {"x-a": 1, "mine": True, "X-Tenant": "t"}


def test_a_header_goes_before_a_parameter_of_its_name():
    assert forwarded("x-", (b"x-a", b"header"))["x-a"] == "header"


def test_of_repeated_headers_the_last_counts():
    assert forwarded("x-", (b"x-r", b"1"), (b"x-r", b"2"))["x-r"] == "2"


def test_without_a_pattern_the_request_stays_what_it_was():
    assert HeaderForwarding("").apply(REQUEST, [(b"x-a", b"1")]) is REQUEST
    assert not HeaderForwarding("").forwards


def test_a_name_longer_than_any_is_not_forwarded():
    assert "x" * 65 not in forwarded("x", (b"x" * 65, b"1"), (b"x" * 64, b"1"))


@pytest.mark.parametrize("name", ["sequence_id", "priority", "timeout", "triton_x", "headers"])
def test_a_header_with_a_reserved_name_is_refused(name):
    text = f"Header '{name}' is reserved for Triton usage and cannot be forwarded."
    with pytest.raises(InvalidRequest, match=text):
        forwarded(".*", (name.encode(), b"1"))
