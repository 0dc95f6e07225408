"""What of a model's headers goes where."""

import json

import pytest

from mpserve.codec.cloud_events import grpc_metadata, http_fields, with_headers

BINARY = b"X-Raw-Bin\0\x01AP4=\0"


@pytest.mark.parametrize(
    ("headers", "metadata"),
    [
        (b"X-A\0b\0", b"x-a\0b\0"),
        (BINARY, b"x-raw-bin\0AP4=\0"),
        (b"x-raw-bin\0\x01\0", b"x-raw-bin\0\0"),
        (b"x-raw-bin\0AP4=\0", b""),  # a text where bytes belong
        (b"x-a\0\x01AP4=\0", b""),  # and the other way round
        (b"x-raw-bin\0\x01A P4\0", b""),
        (b"grpc-a-bin\0\x01AP4=\0", b""),
        (b"x-a\0\xe9\0x-b\0c\0", b"x-b\0c\0"),
    ],
)
def test_metadata_are_texts_or_bytes_as_their_names_say(headers, metadata):
    assert grpc_metadata(headers, b"") == metadata


def test_over_http_there_are_texts_only():
    assert http_fields(BINARY + b"x-a\0b\0", b"") == [(b"x-a", b"b")]
    told = json.loads(with_headers("", BINARY + b"x-a\0b\0", b""))
    assert told == {"headers": {"x-a": "b"}}
