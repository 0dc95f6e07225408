"""The OpenAPI documents describe the server that serves them, and the page needs nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mpserve.dialect import DialectName
from mpserve.frontend.http.routes import ROUTES
from tests.fixtures.server import Server

DOCUMENTS = ("/v2/docs/dataplane.json", "/v2/docs/model_repository.json")
METHODS = {"get", "post"}


def parts(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)


def resolve(document: dict, reference: str) -> Any:
    assert reference.startswith("#/")
    place: Any = document
    for key in reference.removeprefix("#/").split("/"):
        place = place[key]
    return place


@pytest.fixture(params=[*DOCUMENTS, "/openapi.json", "/v2/models/echo/docs/dataplane.json",
                        "/v2/models/versioned/versions/v0.1.0/docs/dataplane.json"])  # fmt: skip
def document(request: pytest.FixtureRequest, mlserver: Server) -> dict:
    answer = mlserver.get(request.param)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found: dict = answer.json()
    return found


def test_a_document_is_openapi_whose_references_hold(document):
    assert document["openapi"] == "3.1.0"
    assert document["info"].keys() >= {"title", "version"}
    for part in parts(document):
        if "$ref" in part:
            assert isinstance(resolve(document, part["$ref"]), dict)


def test_every_operation_is_whole_and_its_path_is_served(document):
    ids = []
    for path, methods in document["paths"].items():
        assert methods.keys() <= METHODS
        filled = re.sub(r"\{\w+\}", "x", path).encode()
        for method, operation in methods.items():
            match = ROUTES[DialectName.MLSERVER].match(filled)
            assert match is not None, path
            assert match.method == method.upper()
            ids.append(operation["operationId"])
            assert operation["responses"].keys() == {"200", "default"}
            names = {
                resolve(document, one["$ref"])["name"] for one in operation.get("parameters", ())
            }
            assert names == set(re.findall(r"\{(\w+)\}", path))
    assert len(ids) == len(set(ids))


def test_every_path_of_the_dialect_is_described(mlserver):
    described = {
        re.sub(r"\{\w+\}", "x", path).encode()
        for name in DOCUMENTS
        for path in mlserver.get(name).json()["paths"]
    }
    own = {b"/v2/repository/events"}
    for route in ROUTES[DialectName.MLSERVER].routes:
        if b"?P<document>" in route.pattern or b"/docs" in route.pattern or route.pattern in own:
            continue
        assert any(re.fullmatch(route.pattern, path) for path in described), route.pattern


def test_a_document_of_a_model_has_its_paths_only(mlserver):
    paths = mlserver.get("/v2/models/echo/docs/dataplane.json").json()["paths"]
    assert "/v2/models/echo/infer" in paths
    assert all(path.startswith("/v2/models/echo") and "{" not in path for path in paths)
    version = "/v2/models/versioned/versions/v0.1.0"
    paths = mlserver.get(f"{version}/docs/dataplane.json").json()["paths"]
    assert f"{version}/infer" in paths
    assert all(path.startswith(version) for path in paths)


@pytest.mark.parametrize("path", ["/v2/docs", "/v2/models/echo/docs",
                                  "/v2/models/versioned/versions/v0.1.0/docs"])  # fmt: skip
def test_the_page_needs_nothing_from_elsewhere(mlserver, path):
    answer = mlserver.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    assert "//" not in re.sub(r"^//.*$", "", text, flags=re.MULTILINE)
    sources = json.loads(re.search(r"SOURCES = (\[.*?\]);", text)[1])
    assert sources
    for source in sources:
        assert mlserver.get(source).status == 200


@pytest.mark.parametrize("path", ["/v2/models/nope/docs", "/v2/models/nope/docs/dataplane.json",
                                  "/v2/docs/other.json", "/v2/docs/../page.html"])  # fmt: skip
def test_what_is_not_there_is_404(mlserver, path):
    assert mlserver.get(path).status == 404


def test_triton_has_no_documents(triton):
    assert triton.get("/v2/docs").status == 404


def test_an_answer_has_the_members_that_its_schema_wants(mlserver):
    schemas = mlserver.get(DOCUMENTS[0]).json()["components"]["schemas"]
    request = {"inputs": [{"name": "i", "shape": [1], "datatype": "FP32", "data": [1]}]}
    for answer, name in (
        (mlserver.infer("echo", request), "InferenceResponse"),
        (mlserver.get("/v2"), "ServerMetadata"),
        (mlserver.get("/v2/models/echo"), "ModelMetadata"),
    ):
        assert answer.json().keys() >= set(schemas[name]["required"])
        assert answer.json().keys() <= schemas[name]["properties"].keys()
