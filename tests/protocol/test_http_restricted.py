"""Row 111: calls that need a header, and headers that models see (row 148), over real sockets."""

import json
from collections.abc import Iterator

import pytest

from tests.fixtures.server import Server
from tests.protocol.models import triton_repository

INFER = {"inputs": [{"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
KEY = {"Admin-Key": "secret"}


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose groups of calls need headers, all but statistics."""
    folder = tmp_path_factory.mktemp("restricted")
    with Server.serve(
        triton_repository(folder / "models"),
        flags=[
            "--http-restricted-api="
            "metadata,model-config,inference,model-repository:admin-key=secret",
            "--http-restricted-api=health:probe=yes=no",
        ],
        log_path=folder / "log",
        wait_ready=False,
    ) as one:
        one.wait_ready(headers={"Probe": "yes=no"})
        yield one


CALLS = [
    ("GET", "/v2/health/live", "probe", {"probe": "yes=no"}),
    ("GET", "/v2/health/ready", "probe", {"PROBE": "yes=no"}),
    ("GET", "/v2/models/m/ready", "probe", {"probe": "yes=no"}),
    ("GET", "/v2", "admin-key", KEY),
    ("GET", "/v2/models/m", "admin-key", KEY),
    ("GET", "/v2/models/m/config", "admin-key", KEY),
    ("POST", "/v2/models/m/infer", "admin-key", KEY),
    ("POST", "/v2/models/m/versions/1/infer", "admin-key", KEY),
    ("POST", "/v2/repository/index", "admin-key", KEY),
    ("GET", "/v2/repository/events", "admin-key", KEY),
]
IDS = [path for _, path, _, _ in CALLS]


def body_of(path: str) -> bytes | None:
    return json.dumps(INFER).encode() if path.endswith("infer") else None


@pytest.mark.parametrize(("method", "path", "key", "headers"), CALLS, ids=IDS)
def test_row_111_a_restricted_call_without_its_header_is_refused(
    server, method, path, key, headers
):
    for sent in ({}, {key: "wrong"}, {key: ""}):
        answer = server.request(method, path, body_of(path), sent)
        assert answer.status == 403
        assert answer.json() == {"error": f"This API is restricted, expecting header '{key}'"}


@pytest.mark.parametrize(("method", "path", "key", "headers"), CALLS, ids=IDS)
def test_row_111_a_restricted_call_with_its_header_is_answered(server, method, path, key, headers):
    assert server.request(method, path, body_of(path), headers).status == 200


def test_the_restriction_goes_before_the_method(server):
    assert server.request("PUT", "/v2").status == 403


def test_what_is_not_restricted_needs_no_header(server):
    assert server.get("/v2/models/m/stats").status == 200


@pytest.fixture(scope="module")
def forwarding(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that forwards headers."""
    folder = tmp_path_factory.mktemp("forwarding")
    with Server.serve(
        triton_repository(folder / "models"),
        flags=["--http-header-forward-pattern=^x-|timeout"],
        log_path=folder / "log",
    ) as one:
        yield one


def told_parameters(server: Server, headers: dict[str, str], **members: object) -> dict:
    request = {"inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "data": [1]}], **members}
    answer = server.request("POST", "/v2/models/teller/infer", request, headers)
    assert answer.status == 200, answer
    told: dict = json.loads(answer.json()["outputs"][0]["data"][0])["parameters"]
    return told


def test_row_148_a_model_sees_the_headers_that_the_pattern_finds(forwarding):
    headers = {"X-Tenant": "grün".encode().decode("latin-1"), "Other": "1"}
    told = told_parameters(forwarding, headers, parameters={"own": 2})
    assert told == {"X-Tenant": headers["X-Tenant"], "own": 2}


def test_a_request_without_such_headers_has_its_own_parameters_only(forwarding):
    assert told_parameters(forwarding, {}) == {}


def test_a_reserved_name_can_not_be_forwarded(forwarding):
    request = {"inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "data": [1]}]}
    answer = forwarding.request("POST", "/v2/models/teller/infer", request, {"timeout": "5"})
    assert answer.status == 400
    text = "Header 'timeout' is reserved for Triton usage and cannot be forwarded."
    assert answer.json() == {"error": text}
