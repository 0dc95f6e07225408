"""Compressed bodies and what clients accept."""

import gzip
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
