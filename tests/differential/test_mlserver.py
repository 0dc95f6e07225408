"""The same requests to MLServer and to mpserve: they answer alike, but for what is listed."""

from collections.abc import Iterator

import grpc
import pytest

from tests.differential.comparison import check
from tests.differential.mlserver_differences import DIFFERENCES
from tests.differential.mlserver_requests import grpc_cases, grpc_streams, http_cases
from tests.differential.mlserver_servers import (
    ask,
    ours,
    peer,
    stream,
    unary,
    write_broken,
    write_models,
)
from tests.differential.servers import Pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Pair]]:
    folder = tmp_path_factory.mktemp("differential")
    first, second = (write_models(folder / name) for name in ("theirs", "ours"))
    with peer(first, folder) as theirs, ours(second, folder) as own:
        write_broken(first)
        write_broken(second)
        yield theirs, own


def test_http_answers_alike(pairs):
    theirs, own = pairs
    cases = http_cases()
    names = {case.name for case in cases}
    assert len(names) == len(cases)
    found = {}
    for case in cases:
        answers = ask(theirs.http_port, case), ask(own.http_port, case)
        if answers[0] != answers[1]:
            found[case.name] = answers
    check(found, names, "HTTP", DIFFERENCES)


def test_grpc_answers_alike(pairs):
    theirs, own = pairs
    found = {}
    names = set()
    with (
        grpc.insecure_channel(f"127.0.0.1:{theirs.grpc_port}") as first,
        grpc.insecure_channel(f"127.0.0.1:{own.grpc_port}") as second,
    ):
        for case in grpc_cases():
            names.add(f"gRPC {case.name}")
            answers = unary(first, case), unary(second, case)
            if answers[0] != answers[1]:
                found[f"gRPC {case.name}"] = answers
        for name, requests in grpc_streams():
            names.add(f"stream {name}")
            streams = stream(first, requests), stream(second, requests)
            if streams[0] != streams[1]:
                found[f"stream {name}"] = streams
    check(found, names, "gRPC", DIFFERENCES)


def test_there_are_enough_requests():
    assert len(http_cases()) >= 150
    assert len(grpc_cases()) + len(grpc_streams()) >= 50
