"""Triton's document on model management, step by step: control mode `poll`, made safe."""

import threading
import time

import pytest

from tests.fixtures.pace import within
from tests.fixtures.repository import TEMPLATES
from tests.fixtures.teller import ask, in_flight, tell
from tests.fixtures.waiting import wait_until

REFUSED = "explicit model load / unload is not allowed if polling is enabled"
TAKEN_SECONDS = within(10)  # a scan a second, the settle time, the load
SETTLE_SECONDS = 0.5  # how long a model must be still before it is taken
COPY_ATTEMPTS = 10
PARTS = 5
PAUSE_SECONDS = 0.2  # of a slow copy; well below the settle time


@pytest.fixture
def poll(serve, repository):
    """Start a server that polls once a second."""

    def start(flags=(), **options):
        polled = ["--model-control-mode=poll", "--repository-poll-secs=1", "--log-format=json"]
        return serve(repository.path, flags=[*polled, *flags], **options)

    return start


def is_ready(server, name: str, version: int = 1) -> bool:
    return server.get(f"/v2/models/{name}/versions/{version}/ready").status == 200


def wait_ready(server, name: str, version: int = 1) -> None:
    wait_until(
        lambda: is_ready(server, name, version),
        deadline=TAKEN_SECONDS,
        what=f"version {version} of {name} to be READY",
    )


def wait_unready(server, name: str, version: int = 1) -> None:
    wait_until(
        lambda: not is_ready(server, name, version),
        deadline=TAKEN_SECONDS,
        what=f"version {version} of {name} to go",
    )


def loads_of(server, name: str) -> int:
    return len(server.events("version.loading", model=name))


def test_load_and_unload_are_refused(poll, repository):
    repository.add("teller", "m")
    server = poll()
    for call in (server.load, server.unload):
        answer = call("m")
        assert (answer.status, answer.json()) == (503, {"error": REFUSED})
    assert tell(server, "m").version == 1


def test_models_come_and_go_with_their_folders(poll, repository):
    server = poll()
    repository.add("teller", "m")
    wait_ready(server, "m")
    assert loads_of(server, "m") == 1
    with in_flight(server, "m") as request:
        repository.remove("m")
        wait_unready(server, "m")
        assert ask(server, "m").status == 404
        assert request.outcome is None
    assert request.result.status == 200
    repository.add("teller", "m")
    wait_ready(server, "m")


def test_versions_come_and_go_with_their_folders(poll, repository):
    repository.add("teller", "m", versions=(1, 2), config="version_policy { all {} }")
    server = poll()
    second = tell(server, "m", version=2)
    assert second.version == 2
    repository.remove("m/1")
    repository.add_version("teller", "m", 7)
    wait_ready(server, "m", 7)
    wait_unready(server, "m", 1)
    assert ask(server, "m", version=1).status in {404, 503}
    assert tell(server, "m").version == 7
    assert tell(server, "m", version=2) == second, "an untouched version is not loaded again"


def test_the_default_policy_moves_to_the_newest_version(poll, repository):
    repository.add("teller", "m")
    server = poll()
    repository.add_version("teller", "m", 3)
    wait_ready(server, "m", 3)
    assert tell(server, "m").version == 3
    wait_unready(server, "m", 1)
    repository.remove("m/3")
    wait_ready(server, "m", 1)
    wait_unready(server, "m", 3)
    assert tell(server, "m").version == 1


@pytest.mark.parametrize(
    ("path", "content"),
    [("m/1/value.txt", "2"), ("m/config.pbtxt", None)],
    ids=["a file of the version", "the configuration"],
)
def test_a_changed_file_reloads_the_model_once(poll, repository, path, content):
    repository.add("teller", "m", files={"1/value.txt": "1"})
    server = poll()
    before = tell(server, "m")
    if content is None:
        content = (repository.path / path).read_text() + "\nmax_batch_size: 0\nparameters {}\n"
        content = content.replace("parameters {}", 'parameters { key: "k" value { } }')
    repository.write(path, content)
    wait_until(lambda: tell(server, "m").pid != before.pid, deadline=TAKEN_SECONDS)
    if path.endswith("value.txt"):
        assert tell(server, "m").value == 2
    assert loads_of(server, "m") == 2


def test_a_broken_change_leaves_the_old_one_serving(poll, repository):
    repository.add("teller", "m", files={"1/value.txt": "1"})
    server = poll()
    before = tell(server, "m")
    repository.write("m/1/value.txt", "no number")
    wait_until(lambda: server.events("model.load_failed", model="m"), deadline=TAKEN_SECONDS)
    assert tell(server, "m") == before
    assert server.get("/v2/health/ready").status == 200
    repository.write("m/config.pbtxt", "this is { no config")
    wait_until(lambda: server.events("model.unreadable", model="m"), deadline=TAKEN_SECONDS)
    assert tell(server, "m") == before
    (row,) = server.index()
    assert row["state"] == "READY"
    assert "config" in row["reason"]
    repository.add("teller", "m", files={"1/value.txt": "2"})
    wait_until(lambda: tell(server, "m").value == 2, deadline=TAKEN_SECONDS)


def test_a_root_that_vanishes_unloads_nothing(poll, repository):
    repository.add("teller", "m")
    server = poll()
    before = tell(server, "m")
    hidden = repository.path.rename(repository.path.with_name("hidden"))
    wait_until(lambda: server.events("repository.doubted"), deadline=TAKEN_SECONDS)
    assert tell(server, "m") == before
    hidden.rename(repository.path)
    repository.add("teller", "n")
    wait_ready(server, "n")
    assert tell(server, "m") == before


def test_content_that_goes_back_is_no_reload(poll, repository):
    """The second model shows that the scan has passed; in between nothing was still for long."""
    repository.add("teller", "m")
    server = poll()
    before = tell(server, "m")
    swap = repository.path / "m" / "1" / ".model.py.swp"
    swap.write_text("an editor's")
    repository.add("teller", "n")
    wait_ready(server, "n")
    swap.unlink()
    repository.add("teller", "o")
    wait_ready(server, "o")
    assert tell(server, "m") == before
    assert loads_of(server, "m") == 1


def copy_slowly(template, target) -> tuple[float, float]:
    """Copy a model piece by piece.

    Returns
    -------
    tuple[float, float]
        The longest time in which nothing was written, and when something was written last.
    """
    pause = threading.Event()
    longest, wrote = 0.0, time.monotonic()
    (target / "1").mkdir(parents=True)
    for source in ("config.pbtxt", "1/model.py"):
        content = (template / source).read_bytes()
        size = len(content) // PARTS + 1
        with (target / source).open("wb", buffering=0) as file:
            for begin in range(0, len(content), size):
                file.write(content[begin : begin + size])
                now = time.monotonic()
                longest, wrote = max(longest, now - wrote), now
                pause.wait(PAUSE_SECONDS)
    return longest, wrote


def test_a_tree_that_is_still_being_copied_is_never_loaded(poll, repository):
    """What this process, when it is held up itself, does not write for so long looks finished."""
    server = poll()
    for attempt in range(COPY_ATTEMPTS):
        name = f"m{attempt}"
        longest, wrote = copy_slowly(TEMPLATES / "teller", repository.path / name)
        loads, unreadable = loads_of(server, name), server.events("model.unreadable", model=name)
        if max(longest, time.monotonic() - wrote) < 0.8 * SETTLE_SECONDS:
            assert loads == 0, "it was loaded while it was copied"
            assert not unreadable
            wait_ready(server, name)
            assert loads_of(server, name) == 1
            assert not server.events("version.load_failed", model=name)
            break
    wait_ready(server, name)
    assert tell(server, name).version == 1


def test_a_load_that_failed_is_tried_again_when_what_it_lacked_has_come(poll, repository, tmp_path):
    needed = tmp_path / "needed"
    repository.add("teller", "m")
    code = (repository.path / "m/1/model.py").read_text()
    repository.write("m/1/model.py", f"open({str(needed)!r}).close()\n{code}")
    server = poll(flags=["--exit-on-error=false"], wait_ready=False)
    wait_until(lambda: loads_of(server, "m") >= 2, deadline=TAKEN_SECONDS, what="another try")
    needed.touch()
    wait_ready(server, "m")
    loads = loads_of(server, "m")
    assert tell(server, "m").version == 1
    server.index()
    assert loads_of(server, "m") == loads
