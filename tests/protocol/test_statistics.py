"""Statistics of models over HTTP, as Triton's extension tells them."""

import json
import time

import pytest

from tests.fixtures.server import Server
from tests.fixtures.teller import in_flight, tell
from tests.fixtures.waiting import wait_until

KEYS = [
    "name", "version", "last_inference", "inference_count", "execution_count", "inference_stats",
    "response_stats", "batch_stats", "memory_usage",
]  # fmt: skip
PARTS = [
    "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit",
    "cache_miss",
]  # fmt: skip


def rows(count: int) -> dict:
    data = [0.0] * 4 * count
    return {"inputs": [{"name": "INPUT0", "shape": [count, 4], "datatype": "FP32", "data": data}]}


def statistics(server: Server, path: str = "m") -> dict:
    answer = server.get(f"/v2/models/{path}/stats")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    (one,) = answer.json()["model_stats"]
    return one


def grown(server: Server, before: dict, *names: str) -> list[int]:
    after = statistics(server)["inference_stats"]
    return [after[name]["count"] - before["inference_stats"][name]["count"] for name in names]


# --- what is told -------------------------------------------------------------------------------


def test_the_members_have_the_peers_names_and_order(triton):
    triton.infer("m", rows(1))
    one = statistics(triton)
    assert list(one) == KEYS
    assert list(one["inference_stats"]) == PARTS
    assert all(list(part) == ["count", "ns"] for part in one["inference_stats"].values())
    assert list(one["batch_stats"][0]) == [
        "batch_size", "compute_input", "compute_infer", "compute_output",
    ]  # fmt: skip
    assert (one["response_stats"], one["memory_usage"]) == ({}, [])


def test_an_answered_request_is_counted_once_and_at_once(triton):
    triton.infer("m", rows(1))
    before = statistics(triton)
    asked_ms = time.time_ns() // 1_000_000
    for _ in range(5):
        assert triton.infer("m", rows(1)).status == 200
    after = statistics(triton)
    assert grown(triton, before, "success", "queue", "compute_infer", "fail") == [5, 5, 5, 0]
    assert after["execution_count"] - before["execution_count"] == 5
    assert after["inference_count"] - before["inference_count"] == 5
    assert after["last_inference"] >= asked_ms - 100  # its clock is a coarse one
    parts = after["inference_stats"]
    spent = sum(parts[name]["ns"] for name in ("queue", "compute_input", "compute_infer"))
    assert 0 < spent <= parts["success"]["ns"]


def test_rows_are_inferences_and_make_the_batch_size(triton):
    before = statistics(triton)
    assert triton.infer("m", rows(3)).status == 200
    after = statistics(triton)
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1

    def executions(one: dict) -> int:
        sizes = {batch["batch_size"]: batch for batch in one["batch_stats"]}
        return sizes[3]["compute_infer"]["count"] if 3 in sizes else 0

    assert executions(after) - executions(before) == 1
    sizes = [batch["batch_size"] for batch in after["batch_stats"]]
    assert sizes == sorted(sizes)


def test_a_models_exception_is_a_failure(triton):
    body = {"inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "data": [0]}]}
    before = statistics(triton, "raising")
    assert triton.infer("raising", body).status == 500
    after = statistics(triton, "raising")
    fails = [one["inference_stats"]["fail"] for one in (before, after)]
    assert fails[1]["count"] - fails[0]["count"] == 1
    assert fails[1]["ns"] > fails[0]["ns"]
    assert after["inference_count"] == after["execution_count"] == 0
    assert after["inference_stats"]["success"] == {"count": 0, "ns": 0}


def test_a_request_that_does_not_fit_the_model_is_not_counted(triton):
    before = statistics(triton)
    assert triton.infer("m", {"inputs": []}).status == 400
    assert grown(triton, before, "success", "fail") == [0, 0]


def test_python_answers_and_native_ones_count_alike(triton):
    before = statistics(triton)
    answer = triton.request(
        "POST", "/v2/models/m/infer", rows(1), {"Accept-Encoding": "gzip"}
    )  # which the core leaves to Python
    assert answer.status == 200
    assert grown(triton, before, "success") == [1]


def test_all_models_are_told_sorted_by_name(triton):
    answer = triton.get("/v2/models/stats")
    names = [one["name"] for one in answer.json()["model_stats"]]
    assert names == sorted(names)
    assert {"m", "raising", "slow"} <= set(names)


def test_a_version_may_be_named(triton):
    assert statistics(triton, "m/versions/1")["version"] == "1"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nope", "requested model 'nope' is not available"),
        ("nope/versions/1", "requested model 'nope' is not available"),
        ("m/versions/9", "requested model version is not available for model 'm'"),
    ],
)
def test_what_is_not_ready_has_no_statistics(triton, path, text):
    answer = triton.get(f"/v2/models/{path}/stats")
    assert (answer.status, answer.json()) == (400, {"error": text})
    assert answer.headers["content-type"] == "application/json"


def test_mlserver_has_no_such_route(mlserver):
    assert mlserver.get("/v2/models/echo/stats").status == 404


# --- over the life of a model -------------------------------------------------------------------


EXPLICIT = ("--model-control-mode=explicit", "--load-model=*")


def counted(server: Server) -> int:
    return statistics(server, "a")["inference_stats"]["success"]["count"]


def test_row_77_a_reload_starts_at_zero(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    tell(server, "a")
    assert counted(server) == 1
    repository.add("teller", "a", files={"1/value.txt": "2"})
    assert server.load("a").status == 200
    assert counted(server) == 0
    tell(server, "a")
    assert counted(server) == 1


def test_row_77_a_change_of_the_instances_keeps_the_counts(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    config = json.loads(server.get("/v2/models/a/config").body)
    before = tell(server, "a")
    config["instance_group"] = [{"name": "a", "kind": "KIND_CPU", "count": 2}]
    assert server.load("a", config=json.dumps(config)).status == 200
    assert tell(server, "a").pid == before.pid or counted(server) == 2
    assert counted(server) == 2


def test_the_death_of_a_worker_takes_nothing_back_and_is_a_failure(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=EXPLICIT)
    pid = tell(server, "a").pid
    with in_flight(server, "a", seconds=30) as request:
        server.process_named("mps:a").kill()
        assert request.result.status == 503
    assert tell(server, "a").pid != pid  # waits in the queue until there is a worker again

    def counts() -> tuple[int, int]:
        parts = statistics(server, "a")["inference_stats"]
        return parts["fail"]["count"], parts["success"]["count"]

    wait_until(lambda: counts() == (1, 2), what="the failure to be counted")


def test_frontends_tell_the_same(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=(*EXPLICIT, "--frontends=2"))
    for _ in range(20):  # each on a connection of its own, which either frontend may get
        tell(server, "a")
    assert {counted(server) for _ in range(10)} == {20}


# --- over gRPC ----------------------------------------------------------------------------------


def test_grpc_tells_what_http_tells(triton):
    grpc = pytest.importorskip("tritonclient.grpc")
    triton.infer("m", rows(2))
    with grpc.InferenceServerClient(triton.grpc_address) as client:
        answer = client.get_inference_statistics("m", as_json=True)
        everything = client.get_inference_statistics()
        with pytest.raises(grpc.InferenceServerException) as refused:
            client.get_inference_statistics("nope")
    (told,) = answer["model_stats"]
    wanted = statistics(triton)
    assert (told["name"], told["version"]) == ("m", "1")
    assert int(told["inference_count"]) == wanted["inference_count"]
    assert int(told["last_inference"]) == wanted["last_inference"]
    success = wanted["inference_stats"]["success"]
    assert told["inference_stats"]["success"] == {key: str(one) for key, one in success.items()}
    sizes = [int(batch["batch_size"]) for batch in told["batch_stats"]]
    assert sizes == [batch["batch_size"] for batch in wanted["batch_stats"]]
    assert [one.name for one in everything.model_stats] == sorted(
        one.name for one in everything.model_stats
    )
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert refused.value.message() == "requested model 'nope' is not available"
