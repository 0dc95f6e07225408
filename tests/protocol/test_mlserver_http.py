"""MLServer's HTTP protocol, by what the real server was seen to answer."""

import json
import re

import pytest

from tests.fixtures.server import Answer, Server

TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
DATATYPES = (
    "'BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64', 'FP16', "
    "'FP32', 'FP64' or 'BYTES'"
)


def infer(server: Server, content: object, path: str = "echo") -> Answer:
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    return server.post(f"/v2/models/{path}/infer", sent)


def change(**changes: object) -> dict:
    return {"inputs": [{**TENSOR, **changes}]}


def refused(answer: Answer, status: int, text: str) -> None:
    assert (answer.status, answer.json()) == (status, {"error": text})


# --- health and metadata ------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "body"), [("live", {"live": True}), ("ready", {"ready": True})])
def test_health_is_json_for_kserve(mlserver, path, body):
    answer = mlserver.get(f"/v2/health/{path}")
    assert (answer.status, answer.json()) == (200, body)


def test_server_metadata_names_mlserver(mlserver):
    metadata = mlserver.get("/v2").json()
    assert list(metadata) == ["name", "version", "extensions"]
    assert (metadata["name"], metadata["extensions"]) == ("mlserver", [])


@pytest.mark.parametrize("path", ["/", "/nope", "/metrics", "/v2/models/echo/config"])
def test_an_unknown_path_is_404(mlserver, path):
    answer = mlserver.get(path)
    assert (answer.status, answer.json()) == (404, {"detail": "Not Found"})


def test_model_metadata_is_exact(mlserver):
    assert mlserver.get("/v2/models/echo").body == (
        b'{"name":"echo","versions":[],"platform":"","inputs":[],"outputs":[],"parameters":{}}'
    )


@pytest.mark.parametrize("path", ["echo", "versioned", "versioned/versions/v0.1.0", "%65cho"])
def test_ready_of_a_loaded_model_is_empty(mlserver, path):
    answer = mlserver.get(f"/v2/models/{path}/ready")
    assert (answer.status, answer.body) == (200, b"")
    assert "content-type" not in answer.headers


def test_an_unknown_version_is_404(mlserver):
    answer = mlserver.get("/v2/models/versioned/versions/v9")
    refused(answer, 404, "Model versioned with version v9 not found")


@pytest.mark.parametrize("name", ["nope", "broken"])
@pytest.mark.parametrize("path", ["", "/ready"])
def test_an_unknown_or_failed_model_is_404(mlserver, name, path):
    refused(mlserver.get(f"/v2/models/{name}{path}"), 404, f"Model {name} not found")


def test_an_unknown_version_of_an_unknown_model_is_told(mlserver):
    answer = mlserver.get("/v2/models/nope/versions/v1")
    refused(answer, 404, "Model nope with version v1 not found")


@pytest.mark.parametrize("place", [{}, {"inputs": [TENSOR]}])
def test_a_content_type_that_is_no_text_is_422(mlserver, place):
    """Also where the core would have read the request."""
    wrong = {"content_type": 1}
    body = {"parameters": wrong, **place} if place else change(parameters=wrong)
    answer = infer(mlserver, body)
    (detail,) = answer.json()["detail"]
    assert (answer.status, detail["type"], detail["loc"][-1]) == (
        422,
        "string_type",
        "content_type",
    )


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/models/echo/infer"])
def test_a_wrong_method_is_405(mlserver, path):
    answer = mlserver.get(path)
    assert (answer.status, answer.json()) == (405, {"detail": "Method Not Allowed"})


# --- repository ---------------------------------------------------------------------------------


def test_the_index_shows_all_models_by_name(mlserver):
    rows = mlserver.post("/v2/repository/index", {}).json()
    assert [row["name"] for row in rows] == ["broken", "echo", "versioned"]
    broken, echo, versioned = rows
    assert (broken["state"], echo["state"]) == ("UNAVAILABLE", "READY")
    assert echo["reason"] == ""
    assert "version" not in echo
    assert versioned["version"] == "v0.1.0"


def test_the_index_of_what_is_ready_leaves_the_rest_out(mlserver):
    rows = mlserver.post("/v2/repository/index", {"ready": True}).json()
    assert [row["name"] for row in rows] == ["echo", "versioned"]


def test_the_index_without_a_body_is_422(mlserver):
    answer = mlserver.request("POST", "/v2/repository/index")
    assert answer.status == 422
    assert answer.json() == {
        "detail": [{"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}]
    }


def test_the_index_with_broken_json_is_422(mlserver):
    answer = mlserver.post("/v2/repository/index", b"{x")
    (detail,) = answer.json()["detail"]
    assert answer.status == 422
    assert (detail["type"], detail["loc"]) == ("json_invalid", ["body", 1])
    assert (detail["msg"], detail["input"]) == ("JSON decode error", {})


def test_unload_and_load_take_a_model_away_and_back(mlserver):
    path = "/v2/repository/models/versioned"
    unloaded = mlserver.post(f"{path}/unload")
    assert (unloaded.status, unloaded.body) == (200, b"")
    text = "Model versioned not found"
    refused(mlserver.post(f"{path}/unload"), 404, text)
    refused(mlserver.get("/v2/models/versioned"), 404, text)
    refused(infer(mlserver, change(), "versioned"), 404, text)
    assert mlserver.get("/v2/health/ready").status == 200
    states = {row["name"]: row["state"] for row in mlserver.index()}
    assert states["versioned"] == "UNAVAILABLE"
    for body in (None, {}):
        loaded = mlserver.post(f"{path}/load", body)
        assert (loaded.status, loaded.body) == (200, b"")
    assert infer(mlserver, change(), "versioned").status == 200


@pytest.mark.parametrize("call", ["load", "unload"])
def test_calls_for_an_unknown_model_are_404(mlserver, call):
    answer = mlserver.post(f"/v2/repository/models/nope/{call}")
    refused(answer, 404, "Model nope not found")


def test_a_load_that_raises_is_500_with_the_reason(mlserver):
    answer = mlserver.post("/v2/repository/models/broken/load")
    assert answer.status == 500
    assert "nowhere" in answer.json()["error"]


def test_a_model_that_failed_to_load_can_be_unloaded(mlserver):
    answer = mlserver.post("/v2/repository/models/broken/unload")
    assert (answer.status, answer.body) == (200, b"")


# --- inference ----------------------------------------------------------------------------------


def test_an_answer_has_mlservers_form(mlserver):
    answer = infer(mlserver, {**change(), "id": "abc"})
    assert answer.body == (
        b'{"model_name":"echo","id":"abc","parameters":{},"outputs":[{"name":"out",'
        b'"shape":[1,4],"datatype":"FP32","parameters":{"content_type":"np"},'
        b'"data":[1.0,2.0,3.0,4.0]}]}'
    )


SOURCE = {
    "ce-specversion": "0.3",
    "ce-source": "io.seldon.serving.deployment.mlserver",
    "ce-type": "io.seldon.serving.inference.response",
    "ce-inferenceservicename": "mlserver",
}
NOT_PLAIN = {"outputs": [{"name": "out", "parameters": {"content_type": "np"}}]}


@pytest.mark.parametrize("more", [{}, NOT_PLAIN], ids=["native", "python"])
def test_an_answer_is_an_event(mlserver, more):
    named = infer(mlserver, {**change(), **more, "id": "abc"}).headers
    found = {name: value for name, value in named.items() if name.startswith("ce-")}
    ids = {"ce-id": "abc", "ce-requestid": "abc"}
    assert found == {**SOURCE, "ce-modelid": "echo", "ce-endpoint": "echo", **ids}
    made_up = infer(mlserver, {**change(), **more})
    assert made_up.headers["ce-id"] == made_up.json()["id"]


@pytest.mark.parametrize("more", [{}, NOT_PLAIN], ids=["native", "python"])
@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "é", "a b", "x" * 2000])
def test_an_id_that_a_header_can_not_carry_is_left_out_of_the_headers(mlserver, more, bad):
    answer = infer(mlserver, {**change(), **more, "id": bad})
    assert (answer.status, answer.json()["id"]) == (200, bad)
    assert not {"x-evil", "ce-id", "ce-requestid"} & answer.headers.keys()
    assert answer.headers["ce-modelid"] == "echo"


def test_an_id_is_made_up(mlserver):
    ids = [infer(mlserver, change()).json()["id"] for _ in range(2)]
    assert all(UUID4.fullmatch(one) for one in ids)
    assert ids[0] != ids[1]


def test_the_version_is_told_where_there_is_one(mlserver):
    answer = infer(mlserver, change(), "versioned/versions/v0.1.0").json()
    assert answer["model_version"] == "v0.1.0"
    assert list(answer)[:2] == ["model_name", "model_version"]


def test_nested_data_is_accepted(mlserver):
    answer = infer(mlserver, change(data=[[1, 2], [3, 4]]))
    assert answer.json()["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_the_content_type_does_not_matter(mlserver, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    sent = json.dumps(change()).encode()
    assert mlserver.request("POST", "/v2/models/echo/infer", sent, headers).status == 200


@pytest.mark.parametrize("path", ["nope", "broken"])
def test_inference_with_an_unknown_model_is_404(mlserver, path):
    refused(infer(mlserver, change(), path), 404, f"Model {path} not found")


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ({}, [["body", "inputs"]]),
        (b"", [["body"]]),
        (b"{", [["body", 1]]),
        (b"null", [["body"]]),
        (b"[]", [["body"]]),
        (change(datatype="FOO"), [["body", "inputs", 0, "datatype"]]),
        ({"inputs": [{}]},
         [["body", "inputs", 0, one] for one in ("name", "shape", "datatype", "data")]),
        ({"inputs": 1, "id": 2}, [["body", "id"], ["body", "inputs"]]),
        (change(shape=[1.5, "x"]),
         [["body", "inputs", 0, "shape", 0], ["body", "inputs", 0, "shape", 1]]),
        ({**change(), "outputs": [{}]}, [["body", "outputs", 0, "name"]]),
        (b"[" * 50_000, [["body", 1025]]),
    ],
)  # fmt: skip
def test_bodies_of_the_wrong_form_are_422_with_all_faults(mlserver, content, places):
    answer = infer(mlserver, content)
    assert answer.status == 422
    details = answer.json()["detail"]
    assert [detail["loc"] for detail in details] == places
    assert all(detail["msg"] and detail["type"] for detail in details)


def test_an_unknown_datatype_is_told_with_the_known_ones(mlserver):
    (detail,) = infer(mlserver, change(datatype="FOO")).json()["detail"]
    assert detail["type"] == "enum"
    assert detail["msg"] == f"Input should be {DATATYPES}"
    assert detail["input"] == "FOO"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"shape": [1, 3]}, "3 elements"),
        ({"shape": [-1, 4]}, "invalid dimensions"),
        ({"data": ["x", 2, 3, 4]}, "FP32"),
        ({"shape": [2**40, 2**40]}, "maximum size"),
        ({"datatype": "UINT8", "data": [-1, 2, 3, 4]}, "UINT8"),
    ],
)
def test_data_that_does_not_fit_is_400_with_the_reason(mlserver, changes, word):
    answer = infer(mlserver, change(**changes))
    assert answer.status == 400
    assert word in answer.json()["error"]


def test_no_inputs_are_an_error_with_the_reason(mlserver):
    answer = infer(mlserver, {"inputs": []})
    assert answer.status in {400, 500}
    assert answer.json()["error"]
