"""A reload costs nobody a request: clients in closed loops while a model is reloaded often."""

import re
import time
from itertools import pairwise

import pytest

from tests.fixtures.closed_loop import ClosedLoop, Connection
from tests.fixtures.pace import full_or, within
from tests.fixtures.teller import in_flight, tell, teller_bytes
from tests.fixtures.waiting import wait_until

ARENA = r"a\d+\."
CLIENTS = 16
RELOADS = 10
SECONDS = full_or(20, 5)
REPOSITORY = ["--model-control-mode=explicit", "--load-model=m"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("frontends", [1, 2])
def test_no_request_fails_while_each_reload_brings_a_new_version(serve, repository, frontends):
    repository.add("teller", "m")
    server = serve(repository.path, flags=[*REPOSITORY, f"--frontends={frontends}"])
    loaded_at: list[tuple[float, int]] = []
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        load.wait_answered()
        for version in range(2, RELOADS + 2):
            load.run_for(SECONDS / (RELOADS + 1))
            repository.add_version("teller", "m", version)
            assert server.load("m").status == 200
            loaded_at.append((time.monotonic(), version))
        load.run_for(SECONDS / (RELOADS + 1))
        load.wait_answered(by_each=2)  # the first may have begun before the load
    assert load.failed == []
    for moment, version in loaded_at:
        seen = {outcome.value("VERSION") for outcome in load.since(moment)}
        assert seen, "nobody asked after the load"
        assert min(seen) >= version, "an old version answered after the load call had returned"
    for mine in load.by_client():
        for earlier, later in pairwise(outcome.value("VERSION") for outcome in mine):
            assert later >= earlier, "a client saw a version go back"


def test_a_worker_has_memory_for_answers_beforehand_when_the_one_before_it_answered(
    serve, repository
):
    """Else the first request after each reload would wait until it is made."""

    def made(kind: str) -> set[str]:
        names = {name.rpartition("-")[2] for name in server.segments()}
        return {name for name in names if re.match(kind, name)}

    def reload(value: int) -> set[str]:
        """Load changed content; return the arenas that this has brought."""
        before = made(ARENA)
        repository.write("m/1/value.txt", str(value))
        assert server.load("m").status == 200
        wait_until(lambda: len(made("queue")) == 1, what="the old generation to end")
        return made(ARENA) - before

    repository.add("teller", "m", files={"1/value.txt": "0"})
    server = serve(repository.path, flags=REPOSITORY)
    assert reload(1) == set(), "nobody has asked it"
    assert tell(server, "m").value == 1
    assert len(reload(2)) == 1
    assert reload(3) == set(), "nobody has asked the last one"


@pytest.mark.timeout(180)
def test_no_request_fails_while_the_content_of_a_version_changes(serve, repository):
    repository.add("teller", "m", files={"1/value.txt": "0"})
    server = serve(repository.path, flags=REPOSITORY)
    loaded_at: list[tuple[float, int]] = []
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        load.wait_answered()
        for value in range(1, RELOADS + 1):
            repository.write("m/1/value.txt", str(value))
            assert server.load("m").status == 200
            loaded_at.append((time.monotonic(), value))
            load.wait_answered(by_each=2)  # the first may have begun before
    assert load.failed == []
    for moment, value in loaded_at:
        assert min(outcome.value("VALUE") for outcome in load.since(moment)) >= value


@pytest.mark.timeout(180)
def test_no_request_fails_while_reloads_fail(serve, repository):
    repository.add("teller", "m", files={"1/value.txt": "5"})
    server = serve(repository.path, flags=REPOSITORY)
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        for attempt in range(RELOADS):
            repository.write("m/1/value.txt", f"no number, attempt {attempt}")
            assert server.load("m").status == 400
            load.wait_answered()
    assert load.failed == []
    assert {outcome.value("VALUE") for outcome in load.outcomes} == {5}
    assert {outcome.value("PID") for outcome in load.outcomes} == {load.outcomes[0].value("PID")}


def test_no_request_fails_while_poll_mode_takes_new_versions(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=["--model-control-mode=poll", "--repository-poll-secs=1"])
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        for version in (2, 3):
            repository.add_version("teller", "m", version)
            load.wait_answered(
                that=lambda outcome, version=version: outcome.value("VERSION") == version,
                deadline=within(10),
            )
    assert load.failed == []


def test_a_request_on_its_way_is_answered_by_what_serves_when_it_has_come(serve, repository):
    """Half of the body is there when the model it was routed to goes."""
    repository.add("teller", "m")
    server = serve(repository.path, flags=REPOSITORY)
    request = teller_bytes("m")
    halves = request[:-20], request[-20:]
    connections = [Connection(server) for _ in range(4)]
    for connection in connections:
        connection.socket.sendall(halves[0])
    first = server.process_named("mps:m")
    repository.add_version("teller", "m", 2)
    assert server.load("m").status == 200
    wait_until(lambda: not first.is_running(), what="the old worker to end")
    for connection in connections:
        assert connection.exchange(halves[1])[0] == 200
        connection.close()


def test_a_load_does_not_wait_for_a_long_request(serve, repository):
    repository.add("teller", "m")
    server = serve(repository.path, flags=REPOSITORY)
    with in_flight(server, "m") as request:
        repository.add_version("teller", "m", 2)
        assert server.load("m").status == 200
        assert tell(server, "m").version == 2
        assert request.outcome is None, "the load waited for the request"
    assert request.result.status == 200
    assert request.result.value("VERSION") == 1
    wait_until(lambda: len(server.processes_named("mps:m")) == 1, what="the old worker to end")
