"""The tree of processes: what is repaired when one of them dies, and how all of them end."""

import os
import signal
import time

import psutil
import pytest

from tests.fixtures.leftovers import segments
from tests.fixtures.teller import in_flight, tell
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
AT_ONCE_SECONDS = 3.0


def pids(server, title):
    return [process.pid for process in server.processes_named(title)]


def are_gone(processes):
    return all(
        not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        for process in processes
    )


def test_a_dead_frontend_is_replaced_and_the_other_one_serves_on(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=["--frontends=2"])
    first, second = server.process_named("mps frontend 0"), server.process_named("mps frontend 1")
    worker = tell(server, "a").pid
    first.kill()
    wait_until(lambda: pids(server, "mps frontend 0") not in ([], [first.pid]), deadline=5)
    wait_until(lambda: tell(server, "a").pid == worker, what="an answer")
    assert pids(server, "mps frontend 1") == [second.pid]


def test_a_reload_needs_the_living_frontends_only(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=["--frontends=2", EXPLICIT, "--load-model=a"])
    server.process_named("mps frontend 1").kill()
    repository.write("a/1/value.txt", "7")
    wait_until(lambda: server.load("a").status == 200, what="a load that succeeds")
    assert tell(server, "a").value == 7


def test_a_dead_spawner_is_replaced_and_workers_do_not_notice(serve, repository):
    repository.add("teller", "a")
    repository.add("teller", "b")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=a"])
    worker = tell(server, "a").pid
    spawner = server.process_named("mpserve spawner")
    spawner.kill()
    wait_until(lambda: pids(server, "mpserve spawner") not in ([], [spawner.pid]))
    assert server.load("b").status == 200
    assert tell(server, "a").pid == worker
    psutil.Process(worker).kill()
    wait_until(lambda: tell(server, "a").pid != worker, deadline=5, what="a new worker")


def test_all_end_when_the_supervisor_is_killed_and_the_next_start_tidies_up(serve, repository):
    repository.add("teller", "a")
    before = segments()
    server = serve(repository.path)
    family = server.processes()
    left = segments() - before
    with in_flight(server, "a", seconds=0.5) as request:
        os.kill(server.pid, signal.SIGKILL)
        assert request.result.status == 200
    wait_until(lambda: are_gone(family), deadline=5, what="the children to end")
    server.process.wait(timeout=5)
    server.expected_exit_code = None
    assert left & segments()
    serve(repository.path)
    assert not left & segments()


def test_a_signal_to_the_whole_group_lets_requests_in_flight_finish(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    with in_flight(server, "a", seconds=0.5) as request:
        os.killpg(server.pid, signal.SIGTERM)
        assert request.result.status == 200
    assert server.wait_exit() == 0


def test_a_request_beyond_the_exit_timeout_is_cut_off_with_exit_code_1(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=["--exit-timeout-secs=1"])
    server.expected_exit_code = None
    with in_flight(server, "a", seconds=30):
        assert server.stop() == 1
    assert "Exit timeout expired. Exiting immediately." in server.log_text


def test_a_second_signal_ends_the_server_at_once(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    server.expected_exit_code = None
    with in_flight(server, "a", seconds=30):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Signal (15) received." in server.log_text)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 1
        assert time.monotonic() - begun < AT_ONCE_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_long_load_ends_the_server_in_order(serve, repository, number):
    repository.add("teller", "a", parameters={"load_seconds": "60"})
    server = serve(repository.path, wait_ready=False)
    wait_until(lambda: pids(server, "mps:a"), what="a worker that loads")
    begun = time.monotonic()
    server.process.send_signal(number)
    assert server.wait_exit() == 0
    assert time.monotonic() - begun < AT_ONCE_SECONDS


def test_an_idle_server_ends_with_0_and_says_which_signal_it_got(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path)
    assert server.stop() == 0
    assert "Signal (15) received." in server.log_text
