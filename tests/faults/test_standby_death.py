"""The worker that waits for its birth: whatever happens to it, nobody but the next load notices."""

import contextlib
import signal
import threading
from pathlib import Path

import psutil
import pytest

from mpserve.control.patience import PATIENT_NS, slice_ns
from tests.fixtures.pace import full_or, within
from tests.fixtures.server import STANDBY
from tests.fixtures.teller import tell
from tests.fixtures.waiting import wait_until

EXPLICIT = ["--model-control-mode=explicit", "--log-format=json"]
AGAIN_SECONDS = within(10)  # after a second death it is made again a second later
SPAWNER = "mpserve spawner"


def another(server, before):
    """Return the one that waits, once it is not `before`."""

    def found():
        waiting = [one for one in server.processes_named(STANDBY) if one.pid != before.pid]
        return waiting[0] if waiting else None

    return wait_until(found, deadline=AGAIN_SECONDS, what="another one to wait")


@pytest.fixture
def server(serve, repository):
    repository.add("teller", "m")
    return serve(repository.path, flags=EXPLICIT)


def test_a_load_takes_the_one_that_waits_and_another_takes_its_place(server):
    standby = server.process_named(STANDBY)
    if slice_ns(0):
        assert slice_ns(standby.pid) == PATIENT_NS
    assert server.load("m").status == 200
    assert tell(server, "m").pid == standby.pid == server.process_named("mps:m").pid
    if slice_ns(0):
        assert slice_ns(standby.pid) == slice_ns(0)
    assert another(server, standby).ppid() == server.process_named(SPAWNER).pid


def test_a_killed_worker_is_replaced_by_the_one_that_waits(server):
    assert server.load("m").status == 200
    standby = server.process_named(STANDBY)
    server.process_named("mps:m").kill()
    wait_until(lambda: tell(server, "m").pid == standby.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_ended_or_was_stopped_is_replaced_and_never_told_of(server, number):
    standby = server.process_named(STANDBY)
    standby.send_signal(number)
    wait_until(lambda: not standby.is_running())  # a stopped one is ended
    assert server.load("m").status == 200
    assert tell(server, "m").pid != standby.pid
    another(server, standby)
    assert server.events("worker.ended") == server.events("process.stopped") == []


def test_it_ends_with_the_spawner_and_the_next_spawner_has_another(server):
    standby = server.process_named(STANDBY)
    server.process_named(SPAWNER).kill()
    wait_until(lambda: not standby.is_running())
    standby = another(server, standby)
    assert server.load("m").status == 200
    assert tell(server, "m").pid == standby.pid


def test_the_next_supervisor_knows_of_it_when_it_is_born(server):
    standby = server.process_named(STANDBY)
    supervisor = server.process_named("mps supervisor")
    supervisor.kill()
    supervisor.wait(10)
    assert server.load("m").status == 200
    assert tell(server, "m").pid == standby.pid
    assert server.events("worker.ended") == []


def kill_if_it_still_waits(standby) -> None:
    """It may have become a worker, and have loaded, since it was seen: it is stopped for a look."""
    standby.suspend()
    stopped = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    wait_until(lambda: standby.status() in stopped)
    comm = Path(f"/proc/{standby.pid}/comm").read_text().removesuffix("\n")
    if comm == STANDBY:
        standby.kill()
    else:
        standby.resume()


def test_a_load_fails_only_when_the_worker_was_born_before_it_was_killed(server):
    """As for any worker that is killed while it loads; each call is answered."""
    is_over = threading.Event()

    def kill_those_that_wait() -> None:
        while not is_over.wait(0.005):
            for standby in server.processes_named(STANDBY):
                with contextlib.suppress(psutil.NoSuchProcess, OSError):
                    kill_if_it_still_waits(standby)

    killer = threading.Thread(target=kill_those_that_wait)
    killer.start()
    try:
        failed = 0
        for _ in range(full_or(200, 20)):
            failed += server.load("m").status != 200
            assert server.unload("m").status == 200
    finally:
        is_over.set()
        killer.join()
    ends = [one["signal"] for one in server.events("worker.ended")]
    assert ends.count(signal.SIGKILL) == failed
    assert server.load("m").status == 200


def test_none_is_left_when_the_server_has_ended(server):
    standby = server.process_named(STANDBY)
    assert server.stop() == 0
    assert not standby.is_running()


def test_none_is_left_when_the_root_was_killed(server):
    standby = server.process_named(STANDBY)
    server.process.kill()
    server.expected_exit_code = -signal.SIGKILL
    wait_until(lambda: not standby.is_running(), deadline=within(10))


def test_the_log_of_another_file_has_another_one(serve, repository, tmp_path):
    server = serve(repository.path, flags=[*EXPLICIT, f"--log-file={tmp_path / 'log'}"])
    standby = server.process_named(STANDBY)
    (tmp_path / "log").rename(tmp_path / "log.1")
    server.process_named("mpserve").send_signal(signal.SIGHUP)
    another(server, standby)
    wait_until(lambda: not standby.is_running())
