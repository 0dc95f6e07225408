"""Triton's model repository extension over HTTP."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.server import Server
from tests.protocol.models import IDENTITY, tensors, write_triton
from tests.protocol.test_triton_http import JSON, TEXT, body, infer, refused

OTHER_CONFIG = {
    "backend": "python",
    "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [2]}],
    "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [2]}],
}
REFUSED = "explicit model load / unload is not allowed if polling is enabled"


@pytest.fixture(scope="module")
def fixed(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server in mode `none`."""
    folder = tmp_path_factory.mktemp("none")
    config = tensors("input", ("IN", "TYPE_FP32", [1])) + tensors(
        "output", ("OUT", "TYPE_FP32", [1])
    )
    write_triton(folder / "models" / "only", source=IDENTITY, config=config)
    with Server.serve(Path(folder, "models"), log_path=folder / "log") as server:
        yield server


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ready":true}', b'{"ready":false}'])
@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/any/index"])
def test_the_index_lists_versions_by_name(triton, content, path):
    rows = triton.post(path, content).json()
    names = [row["name"] for row in rows]
    assert names == sorted(names)
    assert {"name": "m", "version": "1", "state": "READY"} in rows


def test_the_index_refuses_broken_json(triton):
    text = "failed to parse the request JSON buffer: Invalid value. at 0"
    refused(triton.post("/v2/repository/index", b"xx"), 500, text)


def test_ready_of_the_index_must_be_boolean(triton):
    text = "attempt to access JSON non-boolean as boolean"
    refused(triton.post("/v2/repository/index", {"ready": "x"}), 500, text)


def test_an_unload_takes_a_model_away_and_a_load_brings_it_back(triton):
    answer = triton.unload("pair")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == JSON
    gone = "Request for unknown model: 'pair' has no available versions"
    refused(infer(triton, body(), "pair"), 404, gone, TEXT)
    late = "Request for unknown model: 'pair' version 1 is not at ready state"
    refused(infer(triton, body(), "pair/versions/1"), 503, late, TEXT)
    refused(triton.get("/v2/models/pair/ready"), 400, "Model version not ready", TEXT)
    rows = {row["name"]: row for row in triton.index()}
    assert (rows["pair"]["state"], rows["pair"]["reason"]) == ("UNAVAILABLE", "unloaded")
    answer = triton.load("pair")
    assert (answer.status, answer.body) == (200, b"")
    assert triton.get("/v2/models/pair/ready").status == 200


def test_an_unload_of_an_unknown_model_succeeds(triton):
    assert triton.unload("nope").status == 200


def test_a_wrong_type_of_unload_dependents_is_ignored(triton):
    content = {"parameters": {"unload_dependents": "x"}}
    assert triton.post("/v2/repository/models/nope/unload", content).status == 200
    assert triton.post("/v2/repository/models/text/unload", content).status == 200
    assert triton.get("/v2/models/text/ready").status == 400
    assert triton.load("text").status == 200


def test_a_load_of_an_unknown_model_is_500(triton):
    text = "failed to load 'nope', failed to poll from model repository"
    refused(triton.load("nope"), 500, text)


def test_a_repository_name_is_501(triton):
    for call in ("load", "unload"):
        answer = triton.post(f"/v2/repository/r/models/m/{call}", {})
        refused(answer, 501, "'repository_name' specification is not supported")


@pytest.mark.parametrize("name", ["..", "%20"])
def test_a_name_that_could_leave_the_repository_never_loads(triton, name):
    assert triton.post(f"/v2/repository/models/{name}/load", {}).status in {400, 500}


def test_unknown_load_parameters_are_500(triton):
    answer = triton.load("m", nonsense="1")
    refused(answer, 500, "unexpected error on creating Triton parameter")
    refused(triton.load("m", config=1), 500, "attempt to access JSON non-string as string")


def test_a_config_override_replaces_the_configuration(triton):
    config = {**OTHER_CONFIG, "parameters": {"told": {"string_value": "override"}}}
    assert triton.load("text", config=json.dumps(config)).status == 200
    assert triton.get("/v2/models/text/config").json()["input"][0]["dims"] == [2]
    request = {"inputs": [{"name": "IN", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}
    assert infer(triton, request, "text").json()["outputs"][0]["data"] == [1.0, 2.0]


def test_a_broken_config_override_leaves_the_model_serving(triton):
    answer = triton.load("m", config="{")
    assert answer.status in {400, 500}
    assert infer(triton, body()).status == 200


def test_a_file_override_needs_no_repository(triton):
    files = {"file:1/model.py": base64.b64encode(IDENTITY.encode()).decode()}
    assert triton.load("fresh", config=json.dumps(OTHER_CONFIG), **files).status == 200
    request = {"inputs": [{"name": "IN", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}
    assert infer(triton, request, "fresh").json()["outputs"][0]["data"] == [1.0, 2.0]
    assert triton.unload("fresh").status == 200


def test_a_file_that_is_not_base64_is_400(triton):
    answer = triton.load("fresh", config=json.dumps(OTHER_CONFIG), **{"file:1/model.py": "?"})
    assert answer.status == 400
    assert "base64" in answer.json()["error"]


def test_row_69_load_and_unload_are_503_in_the_other_modes(fixed):
    refused(fixed.load("only"), 503, REFUSED)
    refused(fixed.unload("only"), 503, REFUSED)
    assert fixed.get("/v2/models/only/ready").status == 200
