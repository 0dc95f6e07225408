"""Control mode `explicit`, the finer points; `test_control_modes` has the usual ones."""

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.repository import TEMPLATES, Repository
from tests.fixtures.server import READY_SECONDS
from tests.fixtures.teller import ask, held_load, in_flight, tell, teller_config
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
LOADED = [EXPLICIT, "--load-model=m"]
UNREADABLE = "failed to load 'm', failed to poll from model repository"


def encoded(value: int = 0) -> dict[str, str]:
    """Return the files of a model as parameters of a load call."""
    files = {
        "1/model.py": (TEMPLATES / "teller/1/model.py").read_bytes(),
        "1/value.txt": str(value).encode(),
    }
    return {f"file:{path}": base64.b64encode(content).decode() for path, content in files.items()}


def counted(count: int) -> str:
    return teller_config(instance_group=[{"count": count, "kind": "KIND_CPU"}])


def row_of(server, name):
    return next((row for row in server.index() if row["name"] == name), {})


@pytest.mark.parametrize("flags", [[], ["--model-control-mode=none"]], ids=["default", "named"])
def test_mode_none_is_the_default_and_can_be_named(serve, repository, flags):
    repository.add("teller", "m")
    server = serve(repository.path, flags=flags)
    assert tell(server, "m").version == 1
    assert server.unload("m").status == 503


def test_a_startup_model_that_does_not_load_is_unavailable(serve, repository):
    repository.add("teller", "good")
    repository.add_faulty("bad", place="initialize", fault="raise")
    flags = [EXPLICIT, "--load-model=good", "--load-model=bad"]
    server = serve(
        repository.path, flags=[*flags, "--exit-on-error=false", "--strict-readiness=false"]
    )
    assert row_of(server, "bad")["state"] == "UNAVAILABLE"
    assert "ValueError" in row_of(server, "bad")["reason"]
    assert server.get("/v2/models/bad/ready").status == 400
    assert tell(server, "good").version == 1


@pytest.mark.parametrize(("retries", "starts"), [(0, False), (1, True)])
def test_a_load_is_tried_again_as_often_as_the_flag_says(
    serve, repository, tmp_path, retries, starts
):
    """The model fails the first time."""
    repository.add("teller", "m")
    been = tmp_path / "been"
    code = (repository.path / "m/1/model.py").read_text()
    first = (
        f"import os\nif not os.path.exists({str(been)!r}):\n    open({str(been)!r}, 'w'); 1 / 0\n"
    )
    repository.write("m/1/model.py", first + code)
    server = serve(
        repository.path, flags=[f"--model-load-retry-count={retries}"], wait_ready=starts
    )
    if starts:
        assert tell(server, "m").version == 1
    else:
        assert server.wait_exit() == 1
        server.expected_exit_code = None


# --- overrides -----------------------------------------------------------------------------------


def test_a_configuration_of_a_call_holds_until_a_file_changes(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=LOADED)
    (first,) = server.processes_named("mps:m")

    def workers() -> int:
        return len(server.processes_named("mps:m"))

    assert server.load("m", config=counted(2)).status == 200
    assert workers() == 2
    assert first in server.processes_named("mps:m"), "another count is no reload"
    assert server.load("m").status == 200
    assert workers() == 2, "a plain load keeps the override"
    os.utime(repository.path / "m/config.pbtxt")
    assert server.load("m").status == 200
    wait_until(lambda: workers() == 1, what="the configuration of the file to be in force again")


def test_an_unload_ends_the_configuration_of_a_call(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=LOADED)
    assert server.load("m", config=counted(2)).status == 200
    assert server.unload("m").status == 200
    assert server.load("m").status == 200
    assert len(server.processes_named("mps:m")) == 1


def test_files_of_a_call_hold_until_the_next_plain_load(serve, repository):
    repository.add("teller", "m", versions=(1, 2), config="version_policy { all {} }")
    server = serve(repository.path, flags=LOADED)
    assert server.load("m", config=teller_config(), **encoded(7)).status == 200
    assert tell(server, "m").value == 7
    assert ask(server, "m", version=2).status in {404, 503}
    assert server.load("m").status == 200
    assert tell(server, "m").version == 2
    assert tell(server, "m", version=1).value == 0


def test_a_model_of_files_alone_serves_and_is_not_in_the_index(serve, repository):
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("fresh", config=teller_config(), **encoded(7)).status == 200
    assert tell(server, "fresh").value == 7
    assert server.get("/v2/models/fresh/ready").status == 200
    assert row_of(server, "fresh") == {}


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(encoded(7), id="files without a configuration"),
        pytest.param({"config": "no JSON"}, id="no JSON"),
        pytest.param({"config": '{"max_batch_siz": 3}'}, id="an unknown field"),
        pytest.param(
            {"config": teller_config(), "file:../escaped": "eA=="}, id="a path that leads outside"
        ),
        pytest.param(
            {"config": teller_config(), "file:/tmp/escaped": "eA=="}, id="an absolute path"
        ),
        pytest.param(
            {"config": teller_config(default_model_filename="../../escaped.py")},
            id="a model file that lies outside",
        ),
    ],
)
def test_a_call_that_can_not_be_carried_out_leaves_what_serves(serve, repository, parameters):
    repository.add("teller", "m")
    server = serve(repository.path, flags=LOADED)
    before = tell(server, "m")
    answer = server.load("m", **parameters)
    assert answer.status == 500
    assert answer.json()["error"].startswith(UNREADABLE)
    assert tell(server, "m") == before
    assert not list(repository.path.parent.rglob("escaped"))


# --- reloads and what is there -------------------------------------------------------------------


def test_a_touched_file_is_a_reload_and_so_reads_again_what_lies_elsewhere(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=LOADED)
    before = tell(server, "m")
    os.utime(repository.path / "m/config.pbtxt")
    assert server.load("m").status == 200
    assert tell(server, "m") == before, "a configuration counts by its meaning"
    os.utime(repository.path / "m/1/model.py")
    assert server.load("m").status == 200
    assert tell(server, "m").pid != before.pid


def test_only_versions_that_changed_are_loaded(serve, repository):
    repository.add("teller", "m", versions=(1, 2), config="version_policy { all {} }")
    server = serve(repository.path, flags=[*LOADED, "--log-format=json"])
    before = {version: tell(server, "m", version=version) for version in (1, 2)}
    os.utime(repository.path / "m/2/model.py")
    repository.add_version("teller", "m", 4)
    assert server.load("m").status == 200
    assert tell(server, "m", version=1) == before[1]
    assert tell(server, "m", version=2) != before[2]
    assert tell(server, "m", version=4).version == 4
    wait_until(lambda: len(server.events("model.loaded", model="m")) == 2, what="the log")


def test_a_duplicate_does_not_load_and_leaves_what_serves(serve, repository, tmp_path):
    other = Repository(tmp_path / "other")
    repository.add("teller", "m")
    repository.add("teller", "n")
    server = serve(repository.path, other.path, flags=[*LOADED, "--load-model=n"])
    before = tell(server, "m")
    other.add("teller", "m", versions=(3,))
    answer = server.load("m")
    assert (answer.status, answer.json()["error"]) == (500, UNREADABLE)
    assert tell(server, "m") == before
    assert row_of(server, "m")["reason"] == "model appears in two or more repositories"
    assert row_of(server, "n")["state"] == "READY"
    repository.remove("m")
    assert server.unload("m").status == 200
    assert server.load("m").status == 200
    assert tell(server, "m").version == 3


def test_a_failed_load_and_an_unload_leave_readiness_as_it_was(serve, repository):
    """In Triton a load without a version, or a failed first one, spoils it for good."""
    repository.add("teller", "empty", versions=())
    repository.add_faulty("bad", place="initialize", fault="raise")
    server = serve(repository.path, flags=[EXPLICIT])
    assert server.load("empty").status == 400
    assert server.get("/v2/health/ready").status == 200
    assert server.load("bad").status == 400
    assert server.get("/v2/health/ready").status == 400
    assert server.unload("bad").status == 200
    assert server.get("/v2/health/ready").status == 200


def test_a_version_folder_without_a_model_file_is_an_error_at_once(serve, repository):
    repository.add("teller", "m")
    repository.remove("m/1/model.py")
    server = serve(repository.path, flags=[EXPLICIT])
    answer = server.load("m")
    assert answer.status == 400
    assert "model.py" in answer.json()["error"]


def test_strict_readiness_waits_for_loads_but_not_for_reloads(serve, repository):
    repository.add("teller", "m")
    repository.add("teller", "slow", parameters={"load_seconds": "-1"})
    server = serve(repository.path, flags=[*LOADED, "--log-format=json"])
    with ThreadPoolExecutor(1) as caller:
        with held_load(server, "slow"):
            call = caller.submit(server.load, "slow")
            wait_until(lambda: row_of(server, "slow").get("state") == "LOADING")
            assert server.get("/v2/health/ready").status == 400
            assert server.get("/v2/models/m/ready").status == 200
        assert call.result().status == 200
        assert server.get("/v2/health/ready").status == 200
        os.utime(repository.path / "slow/1/model.py")
        with held_load(server, "slow"):
            call = caller.submit(server.load, "slow")
            wait_until(lambda: len(server.events("version.loading", model="slow")) == 2)
            assert server.get("/v2/health/ready").status == 200
        assert call.result().status == 200
        assert server.get("/v2/health/ready").status == 200


def test_statistics_start_again_with_a_reload_and_go_on_with_other_instances(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=LOADED)

    def count() -> int:
        stats = server.get("/v2/models/m/stats").json()
        return stats["model_stats"][0]["inference_count"]

    tell(server, "m")
    assert count() == 1
    assert server.load("m", config=counted(2)).status == 200
    assert count() == 1
    os.utime(repository.path / "m/1/model.py")
    assert server.load("m").status == 200
    assert count() == 0


def test_a_model_that_drains_can_be_loaded_again(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=LOADED)
    with in_flight(server, "m") as request:
        assert server.unload("m").status == 200
        assert server.load("m").status == 200
        assert tell(server, "m").version == 1
        assert request.outcome is None
    assert request.result.status == 200
    wait_until(lambda: len(server.processes_named("mps:m")) == 1, what="the old worker to end")


def test_remote_storage_is_refused_by_name(serve, repository):
    for scheme in ("s3", "gs", "as"):
        server = serve(
            repository.path,
            flags=[f"--model-repository={scheme}://bucket/models"],
            wait_ready=False,
        )
        assert server.wait_exit() == 1
        server.expected_exit_code = None
        assert f"{scheme}://" in server.log_text
        assert json.dumps("Traceback")[1:-1] not in server.log_text


@pytest.mark.parametrize("exits", [True, False])
def test_a_repository_that_is_not_there_ends_the_server_or_leaves_it_dead(
    serve, repository, tmp_path, exits
):
    absent = tmp_path / "absent"
    flags = [f"--model-repository={absent}", f"--exit-on-error={str(exits).lower()}"]
    server = serve(repository.path, flags=flags, wait_ready=False)
    if exits:
        assert server.wait_exit() == 1
        server.expected_exit_code = None
        assert f"failed to stat file {absent}" in server.log_text
        return
    wait_until(lambda: server.get("/v2").status == 200, deadline=READY_SECONDS, what="the metadata")
    assert server.get("/v2/health/live").status == 400
    assert server.get("/v2/health/ready").status == 400
