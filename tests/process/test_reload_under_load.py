"""A reload costs nobody a request: clients in closed loops while a model is reloaded often."""

import time
from itertools import pairwise

import pytest

from tests.fixtures.closed_loop import ClosedLoop
from tests.fixtures.pace import full_or
from tests.fixtures.teller import teller_bytes

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
        load.wait_answered()
    assert load.failed == []
    for moment, version in loaded_at:
        seen = {outcome.value("VERSION") for outcome in load.since(moment)}
        assert seen, "nobody asked after the load"
        assert min(seen) >= version, "an old version answered after the load call had returned"
    for mine in load.by_client():
        for earlier, later in pairwise(outcome.value("VERSION") for outcome in mine):
            assert later >= earlier, "a client saw a version go back"


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
            load.wait_answered()
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
