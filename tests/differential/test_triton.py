"""The same requests to Triton and to mpserve: they answer alike, but for what is listed."""

from collections.abc import Iterator

import grpc
import pytest

from tests.differential.comparison import check
from tests.differential.differences import DIFFERENCES
from tests.differential.requests import grpc_cases, http_cases, stream_cases
from tests.differential.servers import (
    Pair,
    ask_grpc,
    ask_http,
    ask_stream,
    ours,
    peer,
    write_models,
)
from tests.fixtures.grpc_calls import Calls


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Pair]]:
    folder = tmp_path_factory.mktemp("differential")
    first, second = (write_models(folder / name) for name in ("theirs", "ours"))
    with peer(first, folder) as theirs, ours(second, folder) as own:
        yield theirs, own


def test_http_answers_alike(pairs):
    theirs, own = pairs
    cases = http_cases()
    names = {case.name for case in cases}
    assert len(names) == len(cases)
    found = {}
    for case in cases:
        answers = ask_http(theirs.http_port, case), ask_http(own.http_port, case)
        if answers[0] != answers[1]:
            found[case.name] = answers
    check(found, names, "HTTP", DIFFERENCES)


def test_grpc_answers_alike(pairs):
    theirs, own = pairs
    cases = grpc_cases()
    found = {}
    with (
        grpc.insecure_channel(f"127.0.0.1:{theirs.grpc_port}") as first,
        grpc.insecure_channel(f"127.0.0.1:{own.grpc_port}") as second,
    ):
        for case in cases:
            answers = ask_grpc(Calls(first), case), ask_grpc(Calls(second), case)
            if answers[0] != answers[1]:
                found[f"gRPC {case.name}"] = answers
        for case in stream_cases():
            streams = ask_stream(Calls(first), case), ask_stream(Calls(second), case)
            if streams[0] != streams[1]:
                found[f"stream {case.name}"] = streams
    asked = {f"gRPC {case.name}" for case in cases}
    asked |= {f"stream {case.name}" for case in stream_cases()}
    check(found, asked, "gRPC", DIFFERENCES)


def test_there_are_enough_requests():
    assert len(http_cases()) + len(grpc_cases()) >= 300
