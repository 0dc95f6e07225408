"""Ensembles over HTTP: their graphs, and what they tell."""

import json

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.ensembles import Step, add, add_chain, add_ensemble, adding, request, sums
from tests.fixtures.pace import full_or
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
RELOADS = full_or(20, 6)


# --- what it computes ----------------------------------------------------------------------------


def test_a_chain_hands_tensors_on_and_describes_itself(serve, repository):
    add_chain(repository)
    server = serve(repository.path)
    assert sums(add(server, "e", 5)) == {"Y": 16.0}
    assert server.get("/v2/models/e").json() == {
        "name": "e",
        "versions": ["1"],
        "platform": "ensemble",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [1]}],
        "outputs": [{"name": "Y", "datatype": "FP32", "shape": [1]}],
    }
    config = server.get("/v2/models/e/config").json()
    assert (config["platform"], config["backend"], config["instance_group"]) == ("ensemble", "", [])
    assert "optimization" not in config
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert [step["model_name"] for step in config["ensemble_scheduling"]["step"]] == [
        "first",
        "second",
    ]
    assert server.get("/v2/models/e/ready").status == 200
    assert server.processes_named("mps:e") == []


def test_steps_that_do_not_need_each_other_run_at_the_same_time(serve, repository, tmp_path):
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    for name in ("left", "right"):
        repository.add("adder", name, parameters={"meeting": str(meeting)})
    repository.add("adder", "joined")
    add_ensemble(
        repository,
        "e",
        adding("left", "X", "L"),
        adding("right", "X", "R"),
        adding("joined", "L", "Y", more="R"),
    )
    server = serve(repository.path)
    assert sums(add(server, "e", 2)) == {"Y": 7.0}, "one after the other would never meet"


def test_only_steps_that_the_wanted_outputs_need_are_run(serve, repository):
    repository.add("adder", "first")
    repository.add("adder", "never", parameters={"error": "it must not run"})
    add_ensemble(
        repository,
        "e",
        adding("first", "X", "Y"),
        adding("never", "X", "Z"),
        outputs=("Y", "Z"),
    )
    server = serve(repository.path)
    wanted = {**request(1), "outputs": [{"name": "Y"}]}
    assert sums(server.post("/v2/models/e/infer", wanted)) == {"Y": 2.0}
    assert add(server, "e", 1).status != 200


def test_an_optional_input_may_be_left_out(serve, repository):
    repository.add("adder", "first")
    add_ensemble(repository, "e", adding("first", "X", "Y", more="M"), inputs=("X", "M?"))
    server = serve(repository.path)
    assert sums(add(server, "e", 3)) == {"Y": 4.0}
    assert sums(add(server, "e", 3, "X", "M")) == {"Y": 7.0}
    missing = add(server, "e", 3, "M")
    assert missing.status == 400
    assert "missing required input(s) ['X']" in missing.json()["error"]


def test_a_step_may_ask_for_a_version(serve, repository):
    repository.add("adder", "first", versions=(1, 2), config="version_policy { all {} }")
    repository.write("first/1/amount.txt", "100")
    add_ensemble(
        repository,
        "e",
        adding("first", "X", "Y", version=1),
        adding("first", "X", "Z"),
        outputs=("Y", "Z"),
    )
    server = serve(repository.path)
    assert sums(add(server, "e")) == {"Y": 100.0, "Z": 1.0}


def test_models_with_and_without_batches_share_a_tensor(serve, repository):
    repository.add("adder", "batching", config="max_batch_size: 4")
    repository.add("adder", "plain")
    add_ensemble(repository, "e", adding("plain", "X", "T"), adding("batching", "T", "Y"))
    add_ensemble(repository, "back", adding("batching", "X", "T"), adding("plain", "T", "Y"))
    add_ensemble(repository, "rows", adding("batching", "X", "Y"), config="max_batch_size: 4")
    server = serve(repository.path)
    assert sums(add(server, "e", 1)) == {"Y": 3.0}
    assert sums(add(server, "back", 1)) == {"Y": 3.0}
    tensor = {"name": "X", "shape": [3, 1], "datatype": "FP32", "data": [1, 2, 3]}
    answer = server.post("/v2/models/rows/infer", {"inputs": [tensor]})
    assert answer.json()["outputs"][0]["shape"] == [3, 1]
    assert answer.json()["outputs"][0]["data"] == [2.0, 3.0, 4.0]


def test_an_ensemble_may_be_a_step(serve, repository):
    add_chain(repository)
    add_ensemble(
        repository,
        "outer",
        Step("e", {"X": "A"}, {"Y": "T"}),
        adding("first", "T", "B"),
        inputs=("A",),
        outputs=("B",),
    )
    server = serve(repository.path)
    assert sums(add(server, "outer", 0, "A")) == {"B": 12.0}


def test_grpc_clients_get_the_same(serve, repository):
    add_chain(repository)
    server = serve(repository.path)
    with InferenceServerClient(server.grpc_address) as client:
        tensor = InferInput("X", [1], "FP32").set_data_from_numpy(np.array([5], np.float32))
        assert client.infer("e", [tensor], request_id="r").as_numpy("Y").tolist() == [16.0]
        assert client.get_model_config("e").config.platform == "ensemble"
        assert client.get_model_metadata("e").platform == "ensemble"


@pytest.mark.parametrize("policy", ["", "model_transaction_policy { decoupled: true }"])
def test_each_answer_of_a_decoupled_step_goes_through_the_steps_behind_it(
    serve, repository, policy
):
    repository.add("counting", "numbers")
    repository.add("adder", "after", files={"1/amount.txt": "100"})
    add_ensemble(
        repository,
        "e",
        adding("numbers", "X", "T"),
        adding("after", "T", "Y", more="X"),
        config=policy,
    )
    server = serve(repository.path)
    config = server.get("/v2/models/e/config").json()
    assert config["model_transaction_policy"] == {"decoupled": True}
    answer = server.post("/v2/models/e/generate_stream", {"X": 3})
    assert answer.status == 200, answer
    events = [line for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in events]
    assert [one["Y"] for one in told if "Y" in one] == [103.0, 104.0, 105.0]
    assert add(server, "e").status == 501


def test_an_ensemble_is_decoupled_as_long_as_one_of_its_models_is(serve, repository):
    repository.add("counting", "numbers")
    repository.add("adder", "plain")
    add_ensemble(repository, "e", adding("numbers", "X", "Y"))
    add_ensemble(repository, "outer", Step("e", {"X": "X"}, {"Y": "Y"}))
    declared = "model_transaction_policy { decoupled: true }"
    add_ensemble(repository, "once", adding("plain", "X", "Y"), config=declared)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=outer", "--load-model=once"])
    assert sums(add(server, "once", 1)) == {"Y": 2.0}
    assert add(server, "outer", 1).status == add(server, "e", 1).status == 501
    repository.remove("numbers")
    repository.add("adder", "numbers")
    assert server.load("numbers").status == 200
    assert sums(add(server, "e", 1)) == sums(add(server, "outer", 1)) == {"Y": 2.0}
    repository.remove("numbers")
    repository.add("counting", "numbers")
    assert server.load("numbers").status == 200
    assert add(server, "outer", 1).status == 501


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ({}, (0, False, False)),
        ({"sequence_id": 7, "sequence_start": True}, (7, True, False)),
        ({"sequence_id": "seven", "sequence_end": True}, ("seven", False, True)),
    ],
)
def test_an_answer_tells_the_sequence_of_its_request(serve, repository, marks, told):
    add_chain(repository)
    server = serve(repository.path)
    wanted = dict(zip(("sequence_id", "sequence_start", "sequence_end"), told, strict=True))
    answer = server.post("/v2/models/e/infer", {**request(1), "parameters": marks})
    assert answer.json()["parameters"] == wanted
    flat = server.post("/v2/models/e/generate", {"X": 1}).json()
    assert [flat[name] for name in wanted] == [0, False, False]
    with InferenceServerClient(server.grpc_address) as client:
        tensor = InferInput("X", [1], "FP32").set_data_from_numpy(np.array([1], np.float32))
        ours = client.infer("e", [tensor], **marks).get_response().parameters
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param"}
    assert {name: getattr(ours[name], kinds[type(value)]) for name, value in wanted.items()} == (
        wanted
    )


# --- failures ------------------------------------------------------------------------------------


def test_a_failing_step_fails_the_request_with_its_code_and_text(serve, repository):
    """Checklist row 132."""
    repository.add("adder", "first")
    repository.add("adder", "second", parameters={"error": "no more numbers"})
    repository.add("adder", "third")
    add_ensemble(
        repository,
        "e",
        adding("first", "X", "S"),
        adding("second", "S", "T"),
        adding("third", "T", "Y"),
    )
    server = serve(repository.path)
    alone = server.post("/v2/models/second/infer", request(0, "IN"))
    answer = add(server, "e")
    assert answer.status == alone.status
    assert answer.json() == {"error": f"in ensemble 'e', {alone.json()['error']}"}
    assert "no more numbers" in alone.json()["error"]
    stats = {
        one["name"]: one["inference_stats"]
        for one in server.get("/v2/models/stats").json()["model_stats"]
    }
    assert stats["e"]["fail"]["count"] == 1
    assert stats["first"]["success"]["count"] == 1
    assert stats["third"]["success"]["count"] == stats["third"]["fail"]["count"] == 0


def test_statistics_count_the_whole_and_each_step(serve, repository):
    add_chain(repository)
    server = serve(repository.path)
    for _ in range(3):
        sums(add(server, "e"))
    for name in ("e", "first", "second"):
        (stats,) = server.get(f"/v2/models/{name}/stats").json()["model_stats"]
        assert (stats["inference_count"], stats["execution_count"]) == (3, 3)
        assert stats["inference_stats"]["success"]["count"] == 3
        assert stats["last_inference"] > 0
    metrics = server.request("GET", "/metrics", port=server.metrics_port).body.decode()
    assert 'nv_inference_request_success{model="e",version="1"} 3' in metrics


def test_a_client_that_goes_takes_back_the_steps_that_wait(serve, repository, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    repository.add("adder", "slow", parameters={"gate": str(gate)})
    repository.add("adder", "after")
    add_ensemble(repository, "e", adding("slow", "X", "T"), adding("after", "T", "Y"))
    server = serve(repository.path)
    connection = Connection(server)
    connection.socket.sendall(infer_bytes("e", request(0)))
    wait_until(lambda: "slow works" in server.log_text, what="the first step to run")
    connection.close()

    def is_cancelled() -> bool:
        (stats,) = server.get("/v2/models/e/stats").json()["model_stats"]
        return stats["inference_stats"]["fail"]["count"] == 1

    wait_until(is_cancelled, what="the ensemble's request to be taken back")
    gate.unlink()
    sums(add(server, "e"))  # the worker is through with the first one
    (stats,) = server.get("/v2/models/after/stats").json()["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == 1
