"""Compressed bodies and what clients accept."""

import gzip
import random
import time
import zlib

import pytest

from mpserve.codec.content_encoding import (
    BodyTooLarge,
    ContentEncoding,
    UnknownEncoding,
    accepted_encoding,
    content_encoding,
    inflate,
)
from mpserve.errors import InvalidRequest
from tests.fixtures.pace import within

GZIP, DEFLATE, IDENTITY = ContentEncoding.GZIP, ContentEncoding.DEFLATE, ContentEncoding.IDENTITY


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, IDENTITY),
        ("", IDENTITY),
        ("identity", IDENTITY),
        (" GZip ", GZIP),
        ("deflate", DEFLATE),
    ],
)
def test_the_coding_of_a_body_is_read(header, expected):
    assert content_encoding(header) is expected


@pytest.mark.parametrize("header", ["br", "gzip, deflate", "x-gzip", "zstd"])
def test_another_coding_is_refused(header):
    with pytest.raises(UnknownEncoding, match="send gzip, deflate or identity"):
        content_encoding(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, IDENTITY), ("", IDENTITY), ("gzip, deflate", GZIP), ("deflate, gzip", DEFLATE),
        ("deflate;q=0.5, gzip;q=0.9", GZIP), ("identity, gzip;q=0.9", IDENTITY), ("br", IDENTITY),
        ("*", IDENTITY), ("gzip;q=0", IDENTITY), ("gzip;q=rubbish", IDENTITY), ("gzip; q=1", GZIP),
        ("gzip;q=1.5", IDENTITY),
    ],
)  # fmt: skip
def test_the_preferred_coding_wins_and_of_equals_the_first(header, expected):
    assert accepted_encoding(header) is expected


def test_a_gzip_body_may_have_several_members():
    packed = gzip.compress(b"ab") + gzip.compress(b"cd")
    assert inflate(packed, GZIP, max_bytes=4) == b"abcd"


@pytest.mark.parametrize(("coding", "pack"), [(GZIP, gzip.compress), (DEFLATE, zlib.compress)])
def test_inflating_stops_at_the_limit(coding, pack):
    with pytest.raises(BodyTooLarge, match="maximum allowed input size of 1000 bytes"):
        inflate(pack(b"x" * 10_000_000), coding, max_bytes=1000)
    assert len(inflate(pack(b"x" * 1000), coding, max_bytes=1000)) == 1000


def test_members_count_together():
    with pytest.raises(BodyTooLarge):
        inflate(gzip.compress(b"x" * 600) * 2, GZIP, max_bytes=1000)


@pytest.mark.parametrize(
    "body", [b"rubbish", gzip.compress(b"x" * 99)[:-4], gzip.compress(b"x") + b"y"]
)
def test_what_is_no_gzip_is_refused(body):
    with pytest.raises(InvalidRequest, match="gzip"):
        inflate(body, GZIP, max_bytes=1000)


def test_members_cost_no_more_than_their_own_bytes():
    """Each used to copy all that followed it: 200,000 empty ones took 20 seconds."""
    begun = time.monotonic()
    many = gzip.compress(b"") * 16_000 + gzip.compress(b"end")
    assert inflate(many, GZIP, max_bytes=10) == b"end"
    with pytest.raises(InvalidRequest, match="more than 16384 members"):
        inflate(gzip.compress(b"") * 200_000, GZIP, max_bytes=10)
    assert time.monotonic() - begun < within(3)


@pytest.mark.parametrize(("coding", "pack"), [(GZIP, gzip.compress), (DEFLATE, zlib.compress)])
@pytest.mark.parametrize("size", [0, 1, 65_535, 1_000_000])
def test_pieces_of_a_body_are_put_together(coding, pack, size):
    content = random.Random(size).randbytes(size)
    assert inflate(pack(content), coding, max_bytes=size) == content
    assert inflate(memoryview(pack(content)), coding, max_bytes=size) == content


def test_what_follows_deflated_data_is_not_read():
    packed = zlib.compress(b"ab")
    assert inflate(packed + b"x" * 100_000, DEFLATE, max_bytes=2) == b"ab"
