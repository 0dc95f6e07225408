"""The same requests to Triton and to mpserve: they answer alike, but for what is listed."""

from collections.abc import Iterator

import grpc
import pytest

from tests.differential.differences import DIFFERENCES
from tests.differential.requests import grpc_cases, http_cases
from tests.differential.servers import Pair, ask_grpc, ask_http, ours, peer, write_models
from tests.fixtures.grpc_calls import Calls

MOST_SHOWN = 40


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Pair]]:
    folder = tmp_path_factory.mktemp("differential")
    first, second = (write_models(folder / name) for name in ("theirs", "ours"))
    with peer(first, folder) as theirs, ours(second, folder) as own:
        yield theirs, own


def check(found: dict[str, tuple[object, object]], asked: set[str], wire: str) -> None:
    """Fail on a difference that is not listed, and on a listed one that there is not any more."""
    listed = {name for name in DIFFERENCES if name in asked}
    new = [f"{name}\n  theirs: {a}\n  ours:   {b}" for name, (a, b) in found.items()
           if name not in listed]  # fmt: skip
    gone = sorted(listed - set(found))
    told = "\n".join(new[:MOST_SHOWN])
    assert not new, f"{len(new)} of {len(asked)} over {wire} differ:\n{told}"
    assert not gone, f"listed, but alike: {gone}"


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
    check(found, names, "HTTP")


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
    check(found, {f"gRPC {case.name}" for case in cases}, "gRPC")


def test_there_are_enough_requests():
    assert len(http_cases()) + len(grpc_cases()) >= 300
