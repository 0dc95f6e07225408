"""Custom runtimes, written as public ones are, run as they stand: answers worked out by hand.

`tests/differential` compares them with MLServer itself.
"""

import json
import shutil

import numpy as np
import pytest
import tritonclient.grpc

from tests.differential.runtime_requests import FRAME, PICTURE
from tests.fixtures.repository import TEMPLATES
from tests.fixtures.server import STANDBY, Server
from tests.fixtures.waiting import wait_until

FOUR = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    models = folder / "models"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TEMPLATES / "mlserver_runtimes", models, ignore=ignored)
    with Server.start(models, log_path=folder / "server.log") as running:
        running.process_named(STANDBY)  # or the first test would find one more than before
        yield running


def texts(name, *elements, **parameters):
    return {"name": name, "datatype": "BYTES", "shape": [len(elements)], "data": [*elements],
            "parameters": parameters}  # fmt: skip


def outputs(server, model, *inputs, **more):
    answer = server.infer(model, {"inputs": inputs, **more})
    assert answer.status == 200, answer
    return {one["name"]: one for one in answer.json()["outputs"]}


def test_every_runtime_is_ready(server):
    folders = {path.parent.name for path in TEMPLATES.glob("mlserver_runtimes/*/*-settings.json")}
    assert {row["name"]: row["state"] for row in server.index()} == dict.fromkeys(folders, "READY")


def test_codecs_and_settings_of_a_runtimes_own(server):
    (output,) = outputs(server, "texts", texts("args", "ab", "c", times=2)).values()
    assert output["data"] == ['{"text":"AB!AB!","length":2}', '{"text":"C!C!","length":1}']
    assert output["parameters"] == {"content_type": "json_list"}
    metadata = server.get("/v2/models/texts").json()
    assert metadata["inputs"] == [
        {"name": "args", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "str"}}
    ]


def test_a_codec_of_a_content_type_and_dumps_without_parts(server):
    found = outputs(server, "images", texts("a", PICTURE, content_type="img"), id="x")
    assert found["a"]["data"] == ["AwACAP/+/QIBAA=="]  # 3x2, each pixel from 255
    shown = json.loads(found["shown"]["data"][0])
    tensor = {"name": "a", "datatype": "BYTES", "shape": [1], "data": [PICTURE],
              "parameters": {"content_type": "img"}}  # fmt: skip
    assert shown == {"alone a": tensor, "inputs": [tensor], "outputs": None,
                     "parameters": {"content_type": None}}  # fmt: skip


def test_a_frame_by_its_hint_from_a_load_that_returns_nothing(server):
    found = outputs(server, "frames", *FRAME)
    assert found["name"]["data"] == ["ann", "bob", "eve"]
    assert found["euros"]["data"] == [10.0, 18.0, 30.5]


def test_arguments_by_name_of_which_one_may_be_missing(server):
    numbers = {**FOUR, "name": "numbers"}
    found = outputs(server, "arguments", numbers, texts("names", "ann lee"), texts("marks", "!!"))
    assert found["output-0"]["data"] == [3.5, 5.5]
    assert found["output-1"]["data"] == ["Ann Lee"]
    assert outputs(server, "arguments", numbers, texts("names", "x"))["output-0"]["data"] == [
        1.5,
        3.5,
    ]


def test_threads_of_a_models_own_and_what_it_logs(server):
    client = tritonclient.grpc.InferenceServerClient(server.grpc_address)
    given = tritonclient.grpc.InferInput("x", [2, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2], [3, 4]], np.float32))
    with client:
        answer = client.infer("pool", [given])
    assert answer.as_numpy("doubled").tolist() == [[2, 4], [6, 8]]
    line = 'pool_rows_sum{model_name="pool",model_version=""} 2'
    wait_until(lambda: line in server.metrics(), what=line)


def test_a_stream_word_by_word(server):
    answer = server.post("/v2/models/words/infer_stream", {"inputs": [texts("x", "to be or")]})
    events = [
        json.loads(one.removeprefix("data: ")) for one in answer.body.decode().split("\n\n") if one
    ]
    assert [one["outputs"][0]["data"] for one in events] == [["to"], [" be"], [" or"]]


def test_a_file_by_its_well_known_name_and_members_of_parameters(server):
    answer = server.infer("weights", {"inputs": [{**FOUR, "shape": [4]}]}).json()
    assert answer["outputs"][0]["data"] == [2.5, 4.5, 6.5, 8.5]
    assert answer["parameters"] == {"total": 14.0}


def test_paths_of_its_own_with_the_peers_response(server):
    assert server.get("/ping").json() == "\n"
    answer = server.post("/explain/large?depth=2", {"inputs": [FOUR]})
    assert (answer.status, answer.headers["x-kind"]) == (202, "large")
    assert answer.json()["answer"]["data"] == [4.0]
    assert answer.json()["depth"] == 2
    refused = server.post("/sum", [1, 2, 3, 4])
    assert (refused.status, refused.json()) == (422, {"error": "4 are too many"})
    assert server.post("/sum", ["a"]).json()["detail"] == [
        {"type": "int_parsing", "loc": ["body", 0], "input": "a",
         "msg": "Input should be a valid integer, unable to parse string as an integer"}
    ]  # fmt: skip


def test_requests_gathered_by_the_model_itself(server):
    row = {**FOUR, "shape": [1, 2]}
    assert outputs(server, "detector", {**row, "data": [1, 2]}) == {}
    found = outputs(server, "detector", {**row, "data": [1, -9]})
    assert found["is_outlier"]["data"] == [0, 1]


def test_requests_in_other_words(server):
    found = outputs(server, "router", texts("x", "one", "two"), id="r")
    told = json.loads(found["told"]["data"][0])
    assert told == {"first": "one", "changed": "changed", "arrival": "1.5", "again": [2],
                    "texts": ["one", "two"]}  # fmt: skip
    assert found["texts"]["data"] == ["one", "two"]
