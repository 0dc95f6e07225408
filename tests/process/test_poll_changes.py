"""What poll mode does with each kind of change, one by one; `test_poll_mode` has the usual ones."""

import json
import os

import pytest

from tests.fixtures.pace import within
from tests.fixtures.repository import Repository
from tests.fixtures.teller import ask, held_load, in_flight, tell
from tests.fixtures.waiting import wait_until

TAKEN_SECONDS = within(10)
GROUP = "instance_group [ {{ count: {} kind: KIND_CPU }} ]"
LABELLED = (
    'backend: "python"\n'
    'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 2 ] } ]\n'
    'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 2 ] LABELS } ]\n'
)
BEST = {
    "inputs": [{"name": "INPUT0", "shape": [2], "datatype": "FP32", "data": [1, 5]}],
    "outputs": [{"name": "OUTPUT0", "parameters": {"classification": 1}}],
}


@pytest.fixture
def poll(serve, repository):
    """Start a server that polls once a second."""

    def start(*roots, flags=(), **options):
        polled = ["--model-control-mode=poll", "--repository-poll-secs=1", "--log-format=json"]
        return serve(repository.path, *roots, flags=[*polled, *flags], **options)

    return start


def mark(server, repository) -> None:
    """Return when poll has taken what was changed before now."""
    repository.add("teller", "mark")
    wait_until(
        lambda: server.get("/v2/models/mark/ready").status == 200,
        deadline=TAKEN_SECONDS,
        what="poll to take the mark",
    )


def row_of(server, name):
    return next((row for row in server.index() if row["name"] == name), {})


def best(server) -> str:
    return server.infer("m", BEST).json()["outputs"][0]["data"][0]


def test_all_is_loaded_at_the_start_and_what_can_not_be_is_unavailable(poll, repository):
    repository.add("teller", "a")
    repository.add("teller", "b")
    repository.add_faulty("broken", place="initialize", fault="raise")
    server = poll(flags=["--exit-on-error=false", "--strict-readiness=false"])
    assert [row_of(server, name)["state"] for name in "ab"] == ["READY", "READY"]
    row = row_of(server, "broken")
    assert row["state"] == "UNAVAILABLE"
    assert "ValueError" in row["reason"]
    assert server.post("/v2/models/broken/infer", {"inputs": []}).status == 404
    assert tell(server, "a").version == 1


def test_an_interval_of_zero_never_looks(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=["--model-control-mode=poll", "--repository-poll-secs=0"])
    before = tell(server, "m")
    repository.add_version("teller", "m", 2)
    repository.add("teller", "n")
    assert server.load("n").status == 503
    assert server.get("/v2/models/n/ready").status == 400
    assert tell(server, "m") == before


def test_a_request_to_a_version_that_is_removed_is_answered(poll, repository):
    repository.add("teller", "m", versions=(1, 2), config="version_policy { all {} }")
    server = poll()
    with in_flight(server, "m") as request:  # the highest version takes it
        repository.remove("m/2")
        wait_until(
            lambda: server.get("/v2/models/m/versions/2/ready").status != 200,
            deadline=TAKEN_SECONDS,
        )
        assert ask(server, "m", version=2).status in {404, 503}
        assert tell(server, "m").version == 1
        assert request.outcome is None
    assert request.result.value("VERSION") == 2


def test_labels_come_and_go_with_their_line_in_the_configuration(poll, repository):
    repository.add("identity", "m")
    repository.write("m/config.pbtxt", LABELLED.replace("LABELS", ""))
    server = poll()
    assert best(server) == "5.000000:1"
    repository.write("m/labels.txt", "low\nhigh\n")
    repository.write("m/config.pbtxt", LABELLED.replace("LABELS", 'label_filename: "labels.txt"'))
    wait_until(lambda: best(server) == "5.000000:1:high", deadline=TAKEN_SECONDS)
    repository.remove("m/labels.txt")
    repository.write("m/config.pbtxt", LABELLED.replace("LABELS", ""))
    wait_until(lambda: best(server) == "5.000000:1", deadline=TAKEN_SECONDS)


def test_files_that_change_while_they_are_loaded_are_not_served_before_they_are_still(
    poll, repository
):
    """The load that meets the change is held until it was made."""
    repository.add("teller", "m", files={"1/value.txt": "1"}, parameters={"load_seconds": "-1"})
    server = poll()
    with held_load(server, "m"):
        os.utime(repository.path / "m/1/model.py")
        wait_until(
            lambda: len(server.events("version.loading", model="m")) == 2, deadline=TAKEN_SECONDS
        )
        repository.write("m/1/value.txt", "2")
        assert tell(server, "m").value == 1
    wait_until(
        lambda: tell(server, "m").value == 2,
        deadline=2 * TAKEN_SECONDS,
        what="the change to be served",
    )
    (failed,) = server.events("model.load_failed", model="m")
    assert "its files were changed while it was loaded" in failed["reason"]
    loaded = wait_until(lambda: server.events("model.loaded", model="m")[1:], what="the log")
    assert len(loaded) == 1, "the load that was changed under was published"


def test_another_number_of_instances_leaves_the_others_running(poll, repository):
    repository.add("teller", "m", config=GROUP.format(1))
    server = poll()
    (first,) = server.processes_named("mps:m")
    config = (repository.path / "m/config.pbtxt").read_text()
    (repository.path / "m/.config.pbtxt.swp").write_text("an editor's")
    repository.write("m/config.pbtxt", config.replace("count: 1", "count: 2"))
    wait_until(lambda: len(server.processes_named("mps:m")) == 2, deadline=TAKEN_SECONDS)
    assert first in server.processes_named("mps:m")
    assert len(server.events("version.loading", model="m")) == 1


def test_a_duplicate_is_unloaded_until_it_is_alone_again(poll, repository, tmp_path):
    other = Repository(tmp_path / "other")
    repository.add("teller", "m")
    server = poll(other.path)
    other.add("teller", "m", versions=(1, 3), config="version_policy { all {} }")
    wait_until(lambda: ask(server, "m").status == 404, deadline=TAKEN_SECONDS)
    reason = "model appears in two or more repositories"
    wait_until(
        lambda: (
            [row_of(server, "m").get(one) for one in ("state", "reason")] == ["UNAVAILABLE", reason]
        )
    )
    repository.remove("m")
    wait_until(lambda: ask(server, "m", version=3).status == 200, deadline=TAKEN_SECONDS)
    assert tell(server, "m", version=1).version == 1


def test_a_link_that_leads_nowhere_and_a_hidden_folder_harm_nobody(poll, repository):
    repository.add("teller", "m")
    server = poll()
    before = tell(server, "m")
    (repository.path / "dangling").symlink_to("nowhere")
    (repository.path / ".hidden").mkdir()
    mark(server, repository)
    assert tell(server, "m") == before
    assert row_of(server, "dangling")["state"] == "UNAVAILABLE"
    assert row_of(server, "m")["state"] == "READY"
    assert row_of(server, ".hidden") != {}, "as in Triton"


def test_a_custom_configuration_comes_and_goes(poll, repository):
    repository.add("teller", "m", parameters={"which": "usual"})
    server = poll(flags=["--model-config-name=special"])

    def which() -> str:
        config = server.get("/v2/models/m/config").json()
        return config["parameters"]["which"]["string_value"]

    assert which() == "usual"
    config = (repository.path / "m/config.pbtxt").read_text()
    (repository.path / "m/configs").mkdir()
    repository.write("m/configs/special.pbtxt", config.replace("usual", "special"))
    wait_until(lambda: which() == "special", deadline=TAKEN_SECONDS)
    repository.remove("m/configs/special.pbtxt")
    wait_until(lambda: which() == "usual", deadline=TAKEN_SECONDS)


def test_a_removed_configuration_is_completed_by_the_model(poll, repository):
    repository.add("teller", "m", versions=(1, 2), config="version_policy { all {} }")
    code = (repository.path / "m/2/model.py").read_text()
    complete = (
        "    @staticmethod\n"
        "    def auto_complete_config(config):\n"
        '        config.add_input({"name": "SECONDS", "data_type": "TYPE_FP32", "dims": [1]})\n'
        '        for name in ("PID", "VERSION", "VALUE"):\n'
        '            config.add_output({"name": name, "data_type": "TYPE_INT64", "dims": [1]})\n'
        "        return config\n\n"
    )
    for version in (1, 2):
        repository.write(
            f"m/{version}/model.py",
            code.replace("    def initialize", f"{complete}    def initialize"),
        )
    server = poll()
    assert tell(server, "m", version=1).version == 1
    repository.remove("m/config.pbtxt")
    wait_until(
        lambda: ask(server, "m", version=1).status in {404, 503},
        deadline=TAKEN_SECONDS,
        what="the default policy, latest, to be in force",
    )
    assert tell(server, "m").version == 2
    assert json.dumps(server.get("/v2/models/m/config").json()).count("TYPE_INT64") == 3
