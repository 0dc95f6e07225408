"""Paths and methods of both dialects."""

import pytest

from mpserve.dialect import DialectName
from mpserve.errors import InvalidRequest
from mpserve.frontend.http.routes import ROUTES, Endpoint, Match

TRITON, MLSERVER = ROUTES[DialectName.TRITON], ROUTES[DialectName.MLSERVER]
GET, POST = "GET", "POST"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2", Match(endpoint=Endpoint.SERVER_METADATA, method=GET)),
        ("/v2/health/live", Match(endpoint=Endpoint.LIVE, method=GET)),
        ("/v2/health/ready?x=/", Match(endpoint=Endpoint.READY, method=GET)),
        ("/v2/models/m", Match(endpoint=Endpoint.MODEL_METADATA, method=GET, model="m")),
        ("/v2/models/m/versions/2",
         Match(endpoint=Endpoint.MODEL_METADATA, method=GET, model="m", version="2")),
        ("/v2/models/m/versions/2/ready",
         Match(endpoint=Endpoint.MODEL_READY, method=GET, model="m", version="2")),
        ("/v2/models/stats", Match(endpoint=Endpoint.STATISTICS, method=GET)),
        ("/v2/models/m/versions/2/stats",
         Match(endpoint=Endpoint.STATISTICS, method=GET, model="m", version="2")),
        ("/v2/models/m/config", Match(endpoint=Endpoint.MODEL_CONFIG, method=GET, model="m")),
        ("/v2/models/m/infer", Match(endpoint=Endpoint.INFER, method=POST, model="m")),
        ("/v2/models/m/generate", Match(endpoint=Endpoint.GENERATE, method=POST, model="m")),
        ("/v2/models/m/versions/2/generate_stream",
         Match(endpoint=Endpoint.GENERATE_STREAM, method=POST, model="m", version="2")),
        ("/v2/models/stats/infer", Match(endpoint=Endpoint.INFER, method=POST, model="stats")),
        ("/v2/models/a%20b/infer", Match(endpoint=Endpoint.INFER, method=POST, model="a%20b")),
        ("/v2/repository/index", Match(endpoint=Endpoint.INDEX, method=POST)),
        ("/v2/repository/r/index", Match(endpoint=Endpoint.INDEX, method=POST, repository="r")),
        ("/v2/repository/models/m/load", Match(endpoint=Endpoint.LOAD, method=POST, model="m")),
        ("/v2/repository/r/models/m/unload",
         Match(endpoint=Endpoint.UNLOAD, method=POST, model="m", repository="r")),
    ],
)  # fmt: skip
def test_triton_knows_these_paths(path, expected):
    assert TRITON.match(path.encode()) == expected


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v2/", "/v2/models", "/v2/models/", "/v2/models/m/", "//v2",
     "/v2/models/m/versions/", "/v2/models/m/versions/v1", "/v2/models/m/stats/", "/v2/models/a/b",
     "/v2/models/m/infer/", "/v2/repository/models/m", "/V2", "/v2/models/m/infer_stream", "*",
     "/v2/models/m/infer\n"],
)  # fmt: skip
def test_triton_knows_no_other_paths(path):
    assert TRITON.match(path.encode()) is None


@pytest.mark.parametrize(
    ("path", "model", "version"),
    [("/v2/models/m/infer", "m", ""), ("/v2/models/%6D/infer", "m", ""),
     ("/v2/models/m/versions/v0.1.0/infer", "m", "v0.1.0"), ("/v2/models/a%2Fb/infer", "a/b", ""),
     ("/v2/models/%FF/infer", "\ufffd", "")],
)  # fmt: skip
def test_mlserver_decodes_names_and_takes_any_version(path, model, version):
    found = MLSERVER.match(path.encode())
    route = "/v2/models/{model_name}" + ("/versions/{model_version}" if version else "") + "/infer"
    assert found == Match(
        endpoint=Endpoint.INFER, method=POST, model=model, version=version, counted_route=route
    )


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/models/m/versions/m/generate_stream",
         "/v2/models/{model_name}/versions/{model_version}/generate_stream"),
        ("/v2/models/models/docs", "/v2/models/{model_name}/docs"),
        ("/v2/repository/models/m/load?x=/v2", "/v2/repository/models/{model_name}/load"),
        ("/v2/docs/dataplane.json", "/v2/docs/dataplane.json"),
        ("/v2/health/live", ""),
        ("/v2/health/ready", ""),
    ],
)  # fmt: skip
def test_mlserver_counts_by_route_with_its_parts_named(path, route):
    found = MLSERVER.match(path.encode())
    assert found is not None
    assert found.counted_route == route


def test_triton_counts_no_routes():
    found = TRITON.match(b"/v2/models/m/infer")
    assert found is not None
    assert found.counted_route == ""


@pytest.mark.parametrize("path", ["/v2/models/m/config", "/v2/repository/r/index", "/v2/"])
def test_mlserver_does_not_know_tritons_further_paths(path):
    assert MLSERVER.match(path.encode()) is None


def test_a_name_that_is_not_utf8_is_just_unknown():
    found = TRITON.match(b"/v2/models/\xff/ready")
    assert found is not None
    assert found.model == "\ufffd"


@pytest.mark.parametrize(
    ("sent", "checked"), [("", ""), ("1", "1"), ("007", "7"), (str(2**63 - 1), str(2**63 - 1))]
)
def test_triton_versions_are_numbers(sent, checked):
    assert TRITON.check_version(sent) == checked


@pytest.mark.parametrize("sent", [str(2**63), "9" * 5000])
def test_a_version_past_64_bits_is_told_as_the_peer_tells_it(sent):
    with pytest.raises(InvalidRequest, match=r"\(details: stol\)"):
        TRITON.check_version(sent)


def test_version_zero_is_a_number_that_no_version_has():
    assert TRITON.check_version("00") == "0"
