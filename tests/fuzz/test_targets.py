"""The short mode of `make fuzz`: every target with a few thousand damaged inputs."""

import sys
from collections.abc import Iterator
from random import Random

import pytest

from mpserve.codec.grpc_connection import http2_library_fault
from tests.fuzz.connections import FAULTY, Bench
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import codec_targets, connection_targets

SEED = 20260101
INPUTS = 3000
NAMES = ("json", "request", "generate", "management", "protobuf", "paths", "http", "grpc")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as one:
        yield one


def test_every_target_is_run(bench):
    assert set(codec_targets()) | set(connection_targets(bench)) == set(NAMES)


def test_connections_serve_what_is_right(bench):
    """Else nothing behind the first refusal would be reached."""
    http = [bench.http_answer(one, len(one)) for one in connection_targets(bench)["http"].seeds]
    assert [answer.count(b"HTTP/1.1 200 OK") for answer in http] == [2, 2, 1, 1, 1, 1, 0, 0]
    assert all(b"503" in answer for answer in http[6:])  # they came to the model's queue
    if not http2_library_fault():
        before = bench.infer.counts()["native"]
        grpc = [bench.grpc_answer(one, len(one)) for one in connection_targets(bench)["grpc"].seeds]
        assert [answer.count(b"hello") for answer in grpc] == [1, 3, 0, 0, 0, 0, 0, 0]
        assert bench.infer.counts()["native"] - before == len(grpc[6:])
        assert b"x" * 3000 in grpc[3]


def test_what_a_handler_raises_ends_its_own_connection(bench, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    live, faulty = (b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path for path in (b"/served", FAULTY))
    answer = bench.http_answer_by_socket(live + live + faulty + live, len(live))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [one.exc_type for one in told] == [LookupError]
    assert bench.http_answer_by_socket(live * 4, len(live)).count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize("name", NAMES)
def test_damaged_inputs_are_served_or_refused_with_a_reason(bench, name):
    if name == "grpc" and http2_library_fault():
        pytest.skip("libnghttp2 is not installed")
    target = {**codec_targets(), **connection_targets(bench)}[name]
    for one in target.seeds:
        target.run(one)
    random = Random(f"{SEED} {name}")
    for _ in range(INPUTS):
        text = mutate(target.seeds, target.words, random)
        try:
            target.run(text)
        except Exception as error:
            error.add_note(f"of {name} with {text!r}")
            raise
