"""Triton's document on model management, step by step: control modes `none` and `explicit`."""

import socket

import pytest

from tests.fixtures.server import READY_SECONDS
from tests.fixtures.teller import ask, in_flight, tell
from tests.fixtures.waiting import wait_until

REFUSED = "explicit model load / unload is not allowed if polling is enabled"
EXPLICIT = "--model-control-mode=explicit"
BROKEN = "raise ValueError('broken on purpose')\n"


def index(server) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (row["name"], row.get("version", "")): (row.get("state", ""), row.get("reason", ""))
        for row in server.index()
    }


# --- none ----------------------------------------------------------------------------------------


def test_mode_none_loads_everything_and_refuses_load_and_unload(serve, repository):
    repository.add("teller", "a")
    repository.add("identity", "b")
    server = serve(repository.path)
    assert index(server) == {("a", "1"): ("READY", ""), ("b", "1"): ("READY", "")}
    for call in (server.load, server.unload):
        answer = call("a")
        assert (answer.status, answer.json()) == (503, {"error": REFUSED})
    assert tell(server, "a").version == 1


def test_mode_none_ignores_changes_of_the_repository(serve, repository):
    repository.add("teller", "stays")
    server = serve(repository.path)
    before = tell(server, "stays")
    repository.add_version("teller", "stays", 2)
    repository.add("teller", "late")
    server.index()  # a scan must not load either
    assert server.load("late").status == 503
    assert server.get("/v2/models/late/ready").status == 400
    repository.remove("stays")
    assert tell(server, "stays") == before


@pytest.mark.parametrize("exits", [True, False])
def test_a_model_that_fails_at_the_start_ends_the_server_unless_told_not_to(
    serve, repository, exits
):
    repository.add("teller", "good")
    repository.add_faulty("bad", place="initialize", fault="raise")
    if exits:
        server = serve(repository.path, wait_ready=False)
        assert server.wait_exit() == 1
        server.expected_exit_code = None
        assert "error: creating server: Internal - failed to load all models" in server.log_text
        return
    server = serve(repository.path, flags=["--exit-on-error=false"], wait_ready=False)
    wait_until(lambda: server.get("/v2/health/live").status == 200, deadline=READY_SECONDS)
    assert server.get("/v2/health/ready").status == 400
    assert tell(server, "good").version == 1
    state, reason = index(server)["bad", "1"]
    assert state == "UNAVAILABLE"
    assert reason.startswith("Internal: ValueError: this model is broken on purpose")
    assert server.get("/v2/models/bad/ready").status == 400
    assert ask(server, "bad").status == 404


def test_23_a_start_that_fails_never_accepts_a_connection(serve, repository):
    repository.add("teller", "good")
    repository.add_faulty("bad", place="initialize", fault="raise")
    server = serve(repository.path, wait_ready=False)

    def accepts(port: int) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    accepted = []

    def has_ended() -> bool:
        ports = (server.port, server.grpc_port, server.metrics_port)
        accepted.extend(port for port in ports if accepts(port))
        return server.process.poll() is not None

    wait_until(has_ended, deadline=READY_SECONDS, what="the server to end")
    server.expected_exit_code = None
    assert server.process.returncode == 1
    assert accepted == []


# --- explicit: the start -------------------------------------------------------------------------


def test_mode_explicit_loads_nothing_by_itself(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=[EXPLICIT])
    assert index(server) == {("a", ""): ("", "")}
    assert ask(server, "a").status == 404
    assert server.get("/v2/health/ready").status == 200


def test_mode_explicit_loads_what_load_model_names(serve, repository):
    for name in ("a", "b", "c"):
        repository.add("teller", name)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=a", "--load-model=b"])
    ready = ("READY", "")
    assert index(server) == {("a", "1"): ready, ("b", "1"): ready, ("c", ""): ("", "")}


def test_mode_explicit_loads_all_with_an_asterisk(serve, repository):
    for name in ("a", "b"):
        repository.add("teller", name)
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=*"])
    assert {name: state for (name, _), (state, _) in index(server).items()} == {
        "a": "READY",
        "b": "READY",
    }


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        pytest.param(
            [EXPLICIT, "--load-model=*", "--load-model=a"],
            "Wildcard model name '*' must be the ONLY startup model if specified at all.",
            id="asterisk beside a name",
        ),
        pytest.param(
            ["--load-model=a"],
            "Error: Use of '--load-model' requires setting '--model-control-mode=explicit'",
            id="a name in another mode",
        ),
    ],
)
def test_contradictory_load_model_flags_end_the_start(serve, repository, flags, text):
    repository.add("teller", "a")
    server = serve(repository.path, flags=flags, wait_ready=False)
    assert server.wait_exit() == 1
    server.expected_exit_code = None
    assert text in server.log_text


def test_a_startup_model_that_does_not_exist_ends_the_start(serve, repository):
    repository.add("teller", "a")
    server = serve(
        repository.path, flags=[EXPLICIT, "--load-model=a", "--load-model=b"], wait_ready=False
    )
    assert server.wait_exit() == 1
    server.expected_exit_code = None
    assert "error: creating server: Internal - failed to load all models" in server.log_text


# --- explicit: load and unload -------------------------------------------------------------------


def test_the_journey_of_load_and_unload(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("m").status == 200
    assert index(server) == {("m", "1"): ("READY", "")}
    first = tell(server, "m")

    assert server.load("m").status == 200, "again, with nothing changed"
    assert tell(server, "m") == first

    assert server.unload("m").status == 200
    assert index(server) == {("m", "1"): ("UNAVAILABLE", "unloaded")}
    refused = ask(server, "m")
    assert refused.status == 404
    assert refused.json() == {"error": "Request for unknown model: 'm' has no available versions"}
    refused = ask(server, "m", version=1)
    assert refused.status == 503
    assert refused.json() == {
        "error": "Request for unknown model: 'm' version 1 is not at ready state"
    }
    assert server.get("/v2/models/m/ready").status == 400
    assert server.get("/v2/health/ready").status == 200

    assert server.load("m").status == 200
    assert index(server) == {("m", "1"): ("READY", "")}
    assert tell(server, "m").pid != first.pid


def test_load_and_unload_of_unknown_models(serve, repository):
    server = serve(repository.path, flags=[EXPLICIT])
    answer = server.load("x")
    assert (answer.status, answer.json()) == (
        500,
        {"error": "failed to load 'x', failed to poll from model repository"},
    )
    assert server.unload("x").status == 200


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        pytest.param(
            ("m/1/model.py", BROKEN),
            400,
            "load failed for model 'm': version 1 is at UNAVAILABLE state: "
            "Internal: ValueError: broken on purpose",
            id="code that raises",
        ),
        pytest.param(
            ("m/config.pbtxt", "this is { no config"),
            500,
            "failed to load 'm', failed to poll from model repository",
            id="config that can not be parsed",
        ),
    ],
)
def test_a_failed_reload_leaves_the_old_one_serving(serve, repository, change, status, text):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=m"])
    before = tell(server, "m")
    repository.write(*change)
    for _ in range(2):
        answer = server.load("m")
        assert answer.status == status
        assert answer.json()["error"].startswith(text)
        assert index(server) == {("m", "1"): ("READY", "")}
        assert tell(server, "m") == before
        assert server.get("/v2/health/ready").status == 200


def test_a_broken_model_is_repaired_and_loads(serve, repository):
    repository.add_faulty("m", place="initialize", fault="raise")
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("m").status == 400
    assert server.get("/v2/health/ready").status == 400
    repository.add("teller", "m")
    assert server.load("m").status == 200
    assert tell(server, "m").version == 1
    assert server.get("/v2/health/ready").status == 200


def test_all_versions_of_a_load_come_or_none(serve, repository):
    repository.add("teller", "m", versions=(1,), config="version_policy { all {} }")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=m"])
    first = tell(server, "m")
    broken = repository.add_version("teller", "m", 3)
    repository.add_version("teller", "m", 2)
    (broken / "model.py").write_text(BROKEN)
    assert server.load("m").status == 400
    assert tell(server, "m") == first, "version 2 must not serve alone"
    assert ask(server, "m", version=2).status in {404, 503}
    (broken / "model.py").unlink()
    repository.remove("m/3")
    assert server.load("m").status == 200
    assert tell(server, "m").version == 2
    assert tell(server, "m", version=1) == first, "an untouched version is not loaded again"


def test_a_model_without_versions_does_not_load(serve, repository):
    repository.add("teller", "m", versions=())
    server = serve(repository.path, flags=[EXPLICIT])
    answer = server.load("m")
    assert answer.status == 400
    assert answer.json()["error"] == (
        "load failed for model 'm': at least one version must be available under the version "
        "policy of model 'm'\n"
    )


def test_a_request_in_flight_outlives_the_unload(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=m"])
    with in_flight(server, "m") as request:
        assert server.unload("m").status == 200
        assert index(server) == {("m", "1"): ("UNLOADING", "")}
        assert ask(server, "m").status == 404
        assert ask(server, "m", version=1).status == 503
    assert request.result.status == 200
    wait_until(lambda: index(server) == {("m", "1"): ("UNAVAILABLE", "unloaded")})


def test_more_instances_leave_the_running_one_alone(serve, repository):
    count = "instance_group [ {{ count: {} kind: KIND_CPU }} ]"
    repository.add("teller", "m", config=count.format(1))
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=m"])
    (first,) = server.processes_named("mps:m")
    config = (repository.path / "m" / "config.pbtxt").read_text()
    repository.write("m/config.pbtxt", config.replace("count: 1", "count: 3"))
    assert server.load("m").status == 200
    three = server.processes_named("mps:m")
    assert len(three) == 3
    assert first in three
    repository.write("m/config.pbtxt", config)
    assert server.load("m").status == 200
    wait_until(lambda: len(server.processes_named("mps:m")) == 1, what="two workers to end")
    assert server.processes_named("mps:m")[0] in three
    assert tell(server, "m").version == 1
