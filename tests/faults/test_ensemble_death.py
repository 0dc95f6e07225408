"""Ensembles under load while their models are reloaded and the workers of these are killed."""

import json
import random
import re
import time
from itertools import count

import pytest

from tests.fixtures.closed_loop import ClosedLoop, infer_bytes
from tests.fixtures.ensembles import add_ensemble, adding, request
from tests.fixtures.pace import full_or, within
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

SECONDS = full_or(30, 4)
EVENT_SECONDS = full_or(1, 0.4)
CLIENTS = 12
STEPS = ("first", "left", "right", "last")
DIED = {
    f"in ensemble 'e', the worker process of model '{step}' ended before it answered; the request "
    "may be sent again"
    for step in STEPS
}


def counted(server: Server, name: str) -> tuple[dict[str, int], int]:
    """Return the counters of successes, and all failures; a reload does not begin them anew."""
    text = server.metrics()

    def series(family: str, more: str = "") -> int:
        found = re.findall(
            rf'^nv_inference_{family}{{model="{name}",{more}version="1"}} (\S+)$',
            text,
            re.MULTILINE,
        )
        return sum(int(float(one)) for one in found)

    good = {family: series(family) for family in ("request_success", "count", "exec_count")}
    return good, series("request_failure", 'reason="[A-Z]+",')


def disturb(server: Server, repository, rng: random.Random) -> int:
    """Kill and reload in turns for a while; return how many were killed."""
    ends_at = time.monotonic() + SECONDS
    for turn in count():
        if time.monotonic() >= ends_at:
            return (turn + 1) // 2
        name = rng.choice(STEPS)
        if turn % 2:
            repository.write(f"{name}/1/note.txt", str(turn))
            assert server.load(name).status == 200
        else:
            workers = wait_until(lambda name=name: server.processes_named(f"mps:{name}"))
            rng.choice(workers).kill()
        time.sleep(EVENT_SECONDS)  # the pace of what is done
    raise AssertionError


@pytest.mark.timeout(SECONDS + 90)
def test_every_failed_request_is_explained_and_the_steps_counts_add_up(serve, repository):
    for name in STEPS:
        repository.add(
            "adder", name, config="instance_group { count: 2 }", parameters={"seconds": "0.004"}
        )
    add_ensemble(
        repository,
        "e",
        adding("first", "X", "T"),
        adding("left", "T", "L"),
        adding("right", "T", "R"),
        adding("last", "L", "Y", more="R"),
    )
    flags = ["--model-control-mode=explicit", "--load-model=e", "--frontends=2"]
    server = serve(repository.path, flags=flags)
    with ClosedLoop(server, infer_bytes("e", request(1)), clients=CLIENTS) as load:
        load.wait_answered()
        kills = disturb(server, repository, random.Random(7))
        load.wait_answered()
    answered = [outcome for outcome in load.outcomes if outcome.status == 200]
    assert {outcome.value("Y") for outcome in answered} == {7.0}
    assert {one.status for one in load.failed} <= {503}
    assert {json.loads(one.body)["error"] for one in load.failed} <= DIED
    # A killed worker had at most one request, and its clients' other requests go on.
    assert len(load.failed) <= kills
    assert max(outcome.seconds for outcome in load.outcomes) < within(2)

    def adds_up() -> bool:
        good, bad = counted(server, "e")
        assert set(good.values()) == {len(answered)}
        assert bad == len(load.failed)
        given = len(load.outcomes)
        steps = {name: counted(server, name) for name in STEPS}
        for name in STEPS:
            numbers, failed = steps[name]
            assert len(set(numbers.values())) == 1, f"{name}: {numbers}"
            assert given - len(load.failed) <= numbers["count"] + failed <= given, name
            given = given if name == "left" else given - failed  # these two run side by side
        assert steps["last"][0]["count"] == len(answered)
        return True

    wait_until(adds_up, what="the counts of the last requests")
