"""What MLServer's settings files say, with real servers."""

import json
import os

import pytest

from tests.fixtures.waiting import wait_until

RUNTIME = """
import os
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse

class Card(MLModel):
    async def predict(self, payload):
        words = [self.version or "", str(os.getpid())]
        output = StringCodec.encode_output("card", words)
        return InferenceResponse(
            model_name=self.name, model_version=self.version, outputs=[output]
        )
"""
QUESTION = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "models"
    path.mkdir()
    return path


def add(folder, place, *, name, version=None, **fields):
    path = folder / place
    path.mkdir(parents=True)
    (path / "card.py").write_text(RUNTIME)
    settings = {"name": name, "implementation": "card.Card"} | fields
    if version is not None:
        settings["parameters"] = {"version": version}
    (path / "model-settings.json").write_text(json.dumps(settings))
    return path


def rows(server):
    return {(row["name"], row.get("version", ""), row["state"]) for row in server.index()}


def card(server, name, version=None):
    part = "" if version is None else f"/versions/{version}"
    answer = server.post(f"/v2/models/{name}{part}/infer", QUESTION)
    assert answer.status == 200, answer
    return answer.json()["outputs"][0]["data"]


def test_what_the_server_does_not_know_is_warned_about_and_passed_over(start, folder):
    (folder / "settings.json").write_text('{"debug": false, "portt": 8080, "metrics_dir": "/x"}')
    add(folder, "a", name="a", paralel_workers=2)
    server = start(folder)
    assert rows(server) == {("a", "", "READY")}
    assert "settings.json: 'portt' is no setting of the server" in server.log_text
    assert "settings.json: metrics_dir changes nothing" in server.log_text
    assert "'paralel_workers' is no field of" in server.log_text


def test_models_need_not_be_loaded_at_the_start(start, folder):
    (folder / "settings.json").write_text('{"load_models_at_startup": false}')
    add(folder, "a", name="a")
    server = start(folder)
    assert rows(server) == {("a", "", "UNAVAILABLE")}
    assert server.get("/v2/health/ready").status == 200
    assert server.load("a").status == 200
    assert card(server, "a")[0] == ""


def test_versions_lie_in_folders_of_their_own_and_are_one_model(start, folder):
    add(folder, "sum/v1", name="sum", version="v1")
    second = add(folder, "sum/v2", name="sum", version="v2")
    server = start(folder)
    assert rows(server) == {("sum", "v1", "READY"), ("sum", "v2", "READY")}
    first = card(server, "sum", "v1")
    assert first[0] == "v1"
    assert card(server, "sum", "v2")[0] == "v2"
    assert card(server, "sum")[0] == "v2"

    # A change of one version reloads that one alone.
    (second / "card.py").write_text(RUNTIME.replace('or ""', 'or "" ') + "\n# changed\n")
    before = card(server, "sum", "v2")
    assert server.load("sum").status == 200
    assert card(server, "sum", "v2")[1] != before[1]
    assert card(server, "sum", "v1") == first

    assert server.unload("sum").status == 200
    wait_until(lambda: not server.processes_named("mps:sum"), what="the workers to end")
    assert {state for _, _, state in rows(server)} == {"UNAVAILABLE"}
    for version in (None, "v1", "v2"):
        part = "" if version is None else f"/versions/{version}"
        assert server.post(f"/v2/models/sum{part}/infer", QUESTION).status == 404


@pytest.mark.parametrize("inputs", [QUESTION["inputs"], []], ids=["native", "python"])
def test_a_version_goes_before_settings_of_the_name_without_one(start, folder, inputs):
    add(folder, "plain", name="sum")
    add(folder, "versioned", name="sum", version="v1")
    server = start(folder)
    assert server.infer("sum", {"inputs": inputs}).json()["model_version"] == "v1"


def test_settings_may_lie_at_any_depth(start, folder):
    add(folder, "a", name="outer")
    add(folder, "a/b/c", name="inner")
    server = start(folder)
    assert rows(server) == {("outer", "", "READY"), ("inner", "", "READY")}


def test_parallel_workers_are_instances(start, folder):
    add(folder, "a", name="a", parallel_workers=3)
    server = start(folder)
    assert len(server.processes_named("mps:a")) == 3


def test_the_environment_fills_what_the_file_leaves_out(start, folder):
    add(folder, "a", name="a", parallel_workers=1)
    add(folder, "b", name="b")
    environment = os.environ | {"MLSERVER_MODEL_PARALLEL_WORKERS": "2"}
    server = start(folder, environment=environment)
    assert len(server.processes_named("mps:a")) == 1
    assert len(server.processes_named("mps:b")) == 2


def workers(server, model):
    return len(server.processes_named(f"mps:{model}"))


def test_parallel_workers_of_the_server_are_instances_of_models_without_a_number(start, folder):
    (folder / "settings.json").write_text('{"parallel_workers": 2}')
    add(folder, "a", name="a")
    add(folder, "b", name="b", parallel_workers=1)
    add(folder, "c", name="c", parallel_workers=0)
    server = start(folder, environment=os.environ | {"MLSERVER_PARALLEL_WORKERS": "3"})
    assert [workers(server, name) for name in "abc"] == [2, 1, 1]

    # A load call asks the same question.
    add(folder, "d", name="d")
    assert server.load("d").status == 200
    assert workers(server, "d") == 2

    # A number of its own, now and then no more: the model is updated.
    settings = folder / "a" / "model-settings.json"
    said = settings.read_text()
    settings.write_text(json.dumps(json.loads(said) | {"parallel_workers": 1}))
    assert server.load("a").status == 200
    wait_until(lambda: workers(server, "a") == 1, what="one worker to be left")
    settings.write_text(said)
    assert server.load("a").status == 200
    assert workers(server, "a") == 2


def test_no_parallel_workers_of_the_server_are_one_instance(start, folder):
    (folder / "settings.json").write_text('{"parallel_workers": 0}')
    add(folder, "a", name="a")
    server = start(folder)
    assert workers(server, "a") == 1


def test_a_polled_folder_has_the_servers_number_of_instances_too(start, folder):
    (folder / "settings.json").write_text('{"parallel_workers": 2}')
    server = start(folder, flags=["--model-control-mode=poll", "--repository-poll-secs=1"])
    add(folder, "a", name="a")
    wait_until(lambda: rows(server) == {("a", "", "READY")}, what="the model to be served")
    assert workers(server, "a") == 2


def test_sigterm_ends_a_server_with_parallel_workers(start, folder):
    (folder / "settings.json").write_text('{"parallel_workers": 2}')
    add(folder, "a", name="a")
    server = start(folder)
    assert card(server, "a")
    assert server.stop() == 0
