"""SIGKILL of the root, and of everything: all ends, the next start removes what is left."""

import base64
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.fixtures.pace import within
from tests.fixtures.teller import in_flight, tell, teller_config
from tests.fixtures.waiting import wait_until

ENDED_SECONDS = within(5)


def kill_root(server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(10)
    server.expected_exit_code = None


def existing(paths: frozenset[str]) -> frozenset[str]:
    return frozenset(path for path in paths if Path(path).exists())


def wait_gone(processes) -> None:
    _, alive = psutil.wait_procs(processes, timeout=ENDED_SECONDS)
    for process in alive:
        process.kill()
    assert not alive, f"{alive} live on without a root"


@pytest.mark.parametrize("frontends", [1, 2])
def test_without_a_root_all_processes_end_and_the_next_start_cleans_up(
    serve, repository, frontends
):
    repository.add("teller", "m")
    repository.add("teller", "n")
    first = serve(repository.path, flags=[f"--frontends={frontends}"])
    tell(first, "m")
    left = first.segments()
    assert left, "the test would show nothing"
    wait_until(lambda: len(first.lasting_processes()) == 3 + frontends + 2)
    processes = first.processes()
    kill_root(first)
    wait_gone(processes)
    second = serve(repository.path)
    assert tell(second, "m").version == 1
    assert not existing(left)


@pytest.mark.parametrize("after", ["mps supervisor", "mpserve spawner", "mps frontend 0", "mps:m"])
def test_the_root_dies_right_after_another_process(serve, repository, after):
    """Nobody is left who could replace the other one: all the same, everything ends."""
    repository.add("teller", "m")
    server = serve(repository.path)
    wait_until(lambda: "server.ready" in server.log_text)
    left = server.segments()
    processes = server.processes()
    root = server.process_named("mpserve")
    other = server.process_named(after)
    root.suspend()  # it can not start another one meanwhile
    wait_until(lambda: root.status() == "stopped")
    other.kill()
    kill_root(server)
    wait_gone(processes)
    second = serve(repository.path)
    assert tell(second, "m").version == 1
    assert not existing(left)


def test_a_request_in_flight_is_answered_though_the_root_died(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path)
    processes = server.processes()
    with in_flight(server, "m") as request:
        kill_root(server)
        request.let_go()
        assert request.result.status == 200
    wait_gone(processes)
    serve(repository.path)


def test_a_model_that_hangs_does_not_outlive_the_root_for_long(serve, repository):
    """A hanging load is ended at once: nobody waits for it any more."""
    repository.add_faulty("m", place="initialize", fault="hang")
    server = serve(repository.path, flags=["--exit-on-error=false"], wait_ready=False)
    server.process_named("mps:m")
    processes = server.processes()
    kill_root(server)
    wait_gone(processes)
    repository.remove("m")
    serve(repository.path)


def test_after_sigkill_of_everything_the_next_start_leaves_nothing_of_the_first(serve, repository):
    repository.add("teller", "m")
    first = serve(repository.path, flags=["--frontends=2"])
    tell(first, "m")
    left = first.segments()
    assert left, "the test would show nothing"
    first.kill_everything()
    second = serve(repository.path)
    assert tell(second, "m").version == 1
    assert not existing(left)
    assert not second.segments() & left
    left = second.segments()
    assert second.stop() == 0
    assert not existing(left)


def test_a_start_leaves_the_segments_of_a_living_server_alone(serve, repository):
    repository.add("teller", "m")
    first = serve(repository.path)
    theirs = first.segments()
    second = serve(repository.path)
    assert existing(theirs) == theirs
    assert second.stop() == 0
    assert existing(theirs) == theirs
    begun = time.monotonic()
    assert tell(first, "m").version == 1
    assert time.monotonic() - begun < within(1)


def test_model_files_of_load_calls_go_with_their_server_even_a_killed_one(
    serve, repository, tmp_path
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    options = {
        "flags": ["--model-control-mode=explicit"],
        "environment": {"TMPDIR": str(temporary)},
    }
    template = repository.add("teller", "m")
    code = base64.b64encode((template / "1/model.py").read_bytes()).decode()
    files = {"file:1/model.py": code}

    def load_files(server) -> None:
        assert server.load("fresh", config=teller_config(), **files).status == 200
        assert tell(server, "fresh").version == 1

    living = serve(repository.path, **options)
    load_files(living)
    (kept,) = temporary.iterdir()
    killed = serve(repository.path, **options)
    load_files(killed)
    assert len(list(temporary.iterdir())) == 2
    killed.kill_everything()

    third = serve(repository.path, **options)
    assert list(temporary.iterdir()) == [kept], "only what belongs to nobody goes"
    assert tell(living, "fresh").version == 1
    load_files(third)
    assert third.stop() == 0
    assert living.stop() == 0
    assert list(temporary.iterdir()) == []
