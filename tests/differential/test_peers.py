"""The same requests to a peer and to mpserve: they answer alike, but for what is listed."""

from collections.abc import Iterator

import pytest

from tests.differential import mlserver_suite, runtime_suite, triton_suite
from tests.differential.comparison import check
from tests.differential.suite import Both, Suite, both, compare_grpc, compare_http

SUITES = [triton_suite.SUITE, mlserver_suite.SUITE, runtime_suite.SUITE]


@pytest.fixture(scope="module", params=SUITES, ids=lambda suite: suite.name)
def suite(request: pytest.FixtureRequest) -> Suite:
    return request.param


@pytest.fixture(scope="module")
def servers(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both(suite, tmp_path_factory.mktemp(suite.name)) as running:
        yield running


def test_http_answers_alike(suite, servers):
    found = compare_http(suite, servers)
    check(found.different, found.asked, "HTTP", suite.differences)


def test_grpc_answers_alike(suite, servers):
    found = compare_grpc(suite, servers)
    check(found.different, found.asked, "gRPC", suite.differences)


def test_there_are_enough_requests(suite):
    asked = [*suite.http_cases, *suite.grpc_cases, *suite.stream_cases]
    assert len(asked) >= suite.least_cases


def test_every_difference_is_one_of_a_request(suite):
    asked = {case.name for case in suite.http_cases}
    asked |= {f"gRPC {case.name}" for case in suite.grpc_cases}
    asked |= {f"stream {case.name}" for case in suite.stream_cases}
    assert set(suite.differences) <= asked
