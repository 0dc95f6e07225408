"""The words and offsets of Triton's JSON reader, and its bounds."""

import time

import orjson
import pytest

from mpserve.codec.strict_json import MAX_DEPTH, has_repeated_member, parse
from mpserve.errors import ErrorCode, InvalidRequest, MalformedRequest
from tests.fixtures.pace import within

WRONG = [
    (b"", "The document is empty.", 0),
    (b" \n", "The document is empty.", 2),
    (b"xx", "Invalid value.", 0),
    (b"nul", "Invalid value.", 3),
    (b"nulx", "Invalid value.", 3),
    (b"trux", "Invalid value.", 3),
    (b"-", "Invalid value.", 1),
    (b"-x", "Invalid value.", 1),
    (b"[1,]", "Invalid value.", 3),
    (b"[1,2,3,]", "Invalid value.", 7),
    (b'["a","b",]', "Invalid value.", 9),
    (b"\xef\xbb\xbf{}", "Invalid value.", 0),
    (b"{", "Missing a name for object member.", 1),
    (b'{"a":1,}', "Missing a name for object member.", 7),
    (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
    (b'{"a":1 "b":2}', "Missing a comma or } after an object member.", 7),
    (b"[1 2]", "Missing a comma or ] after an array element.", 3),
    (b"[1,2,3 4]", "Missing a comma or ] after an array element.", 7),
    (b"[01]", "Missing a comma or ] after an array element.", 2),
    (b'"abc', "Missing a closing quotation mark in string.", 4),
    (b'"a\\x"', "Invalid escape character in string.", 2),
    (b'"\\', "Invalid escape character in string.", 1),
    (b'"\\u12g4"', "Incorrect hex digit after \\u escape in string.", 1),
    (b'"\\ud800"', "The surrogate pair in string is invalid.", 1),
    (b'"\\ud800\\u0041"', "The surrogate pair in string is invalid.", 1),
    (b'"\\udc00"', "The surrogate pair in string is invalid.", 1),
    (b'"\x1f"', "Invalid encoding in string.", 1),
    (b'"\xff"', "Invalid encoding in string.", 1),
    (b"1 2", "The document root must not be followed by other values.", 2),
    (b"1\0", "The document root must not be followed by other values.", 1),
    (b"1.", "Miss fraction part in number.", 2),
    (b"1e+", "Miss exponent in number.", 3),
    (b"1e999", "Number too big to be stored in double.", 0),
    (b"[1,2,-1e999]", "Number too big to be stored in double.", 5),
    (b'{"a":1,"b":{"c":1,"c":2}}', "The member 'c' is given twice.", 18),
]


@pytest.mark.parametrize(("text", "what", "offset"), WRONG)
def test_what_is_wrong_is_told_with_its_offset(text, what, offset):
    with pytest.raises(MalformedRequest) as caught:
        parse(text)
    assert caught.value.message == (f"failed to parse the request JSON buffer: {what} at {offset}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[Infinity,-Infinity,Inf,-Inf,1]", [float("inf"), float("-inf")] * 2 + [1]),
        (b"18446744073709551616", 18446744073709551616.0),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"":{"":[]}}', {"": {"": []}}),
    ],
)
def test_what_the_peer_takes_is_taken(text, value):
    assert parse(text) == value


def test_nan_is_a_number():
    (value,) = parse(b"[NaN]")
    assert value != value  # noqa: PLR0124  NaN


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_an_error_of_its_own(opening):
    with pytest.raises(InvalidRequest) as caught:
        parse(opening * (MAX_DEPTH + 1))
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 500_000,
        b"[" + b"1e999," * 500_000,
        b"[" + b"1.5," * 1_000_000 + b"NaN]x",
        b'["' + b"\\n" * 1_000_000,
        b"[" + b'"a",' * 1_000_000 + b"x",
    ],
)
def test_large_rubbish_is_refused_in_bounded_time(text):
    begun = time.process_time()
    with pytest.raises(MalformedRequest):
        parse(text)
    assert time.process_time() - begun < within(2)  # tracing costs processor time, too


def test_a_text_too_long_to_search_is_told_by_orjsons_offset():
    text = b"[" + b"[]," * 300_000 + b"x]"
    with pytest.raises(MalformedRequest, match=f"at {len(text) - 2}$"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a":"a\\":","b":[{"a":1},{"a":2}]}', False),
        (b'{"a":1,"a":1}', True),
        (b'[{"x":{"a":1,"a":1}}, "a"]', True),
        (b'{"a":1,"\\u0061":1}', True),
    ],
)
def test_repeated_members_are_found_in_every_object(text, expected):
    assert has_repeated_member(text, orjson.loads(text)) is expected


@pytest.mark.parametrize(
    "part", [b"[],", b"{},", b'"",', b'{"a":[[],[]]},'], ids=["arrays", "objects", "texts", "mixed"]
)
def test_what_would_be_millions_of_values_is_refused_unread(part):
    """64 MiB of empty arrays took 20 seconds and 2 GiB."""
    text = b"[" + part * ((64 << 20) // len(part)) + b"0]"
    begun = time.monotonic()
    with pytest.raises(InvalidRequest, match=r"arrays and objects and \d+ strings"):
        parse(text)
    assert time.monotonic() - begun < within(2)


def test_many_numbers_and_a_million_values_are_read():
    assert len(parse(b"[" + b"1.5," * 3_000_000 + b"0]")) == 3_000_001
    assert len(parse(b"[" + b"[1],[2]," * 200_000 + b"0]")) == 400_001
    assert len(parse(b"[" + b'"a","b",' * 500_000 + b"0]")) == 1_000_001
