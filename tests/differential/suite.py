"""What is asked of one peer and of mpserve, and one runner of it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tests.differential.cases import GrpcCase, HttpCase, StreamCase
from tests.differential.peers import Outcome, Pair, Settle, ask_grpc, ask_http, ask_stream
from tests.fixtures.grpc_calls import Calls

Run = Callable[[Path, Path], contextlib.AbstractContextManager[Pair]]
"""Repository, scratch folder -> a running server."""


class Suite(NamedTuple):
    """All that differs between the peers.

    Attributes
    ----------
    write_later
        Writes models that a peer must not find at its start.
    differences
        Names of requests that are answered otherwise, with the reason.
    least_cases
        So many requests are asked at least.
    """

    name: str
    write_models: Callable[[Path], Path]
    peer: Run
    ours: Run
    http_cases: Sequence[HttpCase]
    grpc_cases: Sequence[GrpcCase]
    stream_cases: Sequence[StreamCase]
    messages: Any  # the schema
    settle: Settle
    differences: Mapping[str, str]
    least_cases: int
    write_later: Callable[[Path], object] = lambda root: root


class Found(NamedTuple):
    """What was asked, and where the two answered differently: theirs, ours."""

    asked: set[str]
    different: dict[str, tuple[object, object]]


class Both(NamedTuple):
    """The two servers."""

    theirs: Pair
    own: Pair


@contextlib.contextmanager
def both(suite: Suite, folder: Path) -> Iterator[Both]:
    """Run the peer and mpserve on repositories of their own with the same models."""
    first, second = (suite.write_models(folder / name) for name in ("theirs", "ours"))
    with suite.peer(first, folder) as theirs, suite.ours(second, folder) as own:
        suite.write_later(first)
        suite.write_later(second)
        yield Both(theirs, own)


def compare_http(suite: Suite, servers: Both) -> Found:
    """Ask both all HTTP requests."""
    ports = (servers.theirs.http_port, servers.own.http_port)
    return _compare(
        (case.name, [ask_http(port, case) for port in ports], suite.settle)
        for case in suite.http_cases
    )


def compare_grpc(suite: Suite, servers: Both) -> Found:
    """Ask both all calls and streams."""
    with contextlib.ExitStack() as stack:
        calls = [
            Calls(
                stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")),
                suite.messages,
            )
            for server in servers
        ]
        unary = (
            (f"gRPC {case.name}", [ask_grpc(one, case) for one in calls], suite.settle)
            for case in suite.grpc_cases
        )
        streams = (
            (f"stream {case.name}", [ask_stream(one, case) for one in calls], suite.settle)
            for case in suite.stream_cases
        )
        return _merged(_compare(unary), _compare(streams))


def _compare(answers: Iterable[tuple[str, Sequence[Outcome], Settle]]) -> Found:
    found = Found(set(), {})
    for name, outcomes, settle in answers:
        assert name not in found.asked, f"two requests are called {name}"
        found.asked.add(name)
        theirs, own = (Outcome(one.status, settle(one.content)) for one in outcomes)
        if theirs != own:
            found.different[name] = (theirs, own)
    return found


def _merged(first: Found, second: Found) -> Found:
    return Found(first.asked | second.asked, {**first.different, **second.different})
