"""Compressed messages of gRPC."""

import gzip
import zlib

import pytest

from mpserve.dialect import GrpcCode
from mpserve.frontend.grpc.message_encoding import WANTED, MessageInflater, deflate
from mpserve.settings import GrpcCompression
from mpserve.settings.grpc_settings import INFLATED_BYTES, MAX_MESSAGE_BYTES

TEXT = b"text " * 1000
GZIP, DEFLATE = 1, 2


def test_messages_are_read_in_both_encodings():
    inflater = MessageInflater(10_000)
    assert inflater.inflate(gzip.compress(TEXT), GZIP) == TEXT
    assert inflater.inflate(zlib.compress(TEXT), DEFLATE) == TEXT


def test_messages_are_written_in_both_encodings():
    assert gzip.decompress(deflate(TEXT, GZIP)) == TEXT
    assert zlib.decompress(deflate(TEXT, DEFLATE)) == TEXT


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (gzip.compress(b"x" * 10_001), GrpcCode.RESOURCE_EXHAUSTED),
        (gzip.compress(TEXT)[:-9], GrpcCode.INTERNAL),
        (b"rubbish", GrpcCode.INTERNAL),
    ],
)
def test_what_can_not_be_read_has_a_status(message, code):
    assert MessageInflater(10_000).inflate(message, GZIP).code is code


def test_a_small_message_does_not_become_a_large_one():
    bomb = gzip.compress(bytes(INFLATED_BYTES + 1))
    failure = MessageInflater(MAX_MESSAGE_BYTES).inflate(bomb, GZIP)
    assert failure.code is GrpcCode.RESOURCE_EXHAUSTED
    assert "--grpc-max-message-bytes" in failure.message
    largest = MessageInflater(INFLATED_BYTES + 1).inflate(bomb, GZIP)
    assert len(largest) == INFLATED_BYTES + 1


def test_levels_are_those_of_the_peer():
    first = {level: numbers[:1] for level, numbers in WANTED.items()}
    assert first == {
        GrpcCompression.NONE: [],
        GrpcCompression.LOW: [GZIP],
        GrpcCompression.MEDIUM: [DEFLATE],
        GrpcCompression.HIGH: [DEFLATE],
    }
