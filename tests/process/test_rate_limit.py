"""Executions of several models that share resources (`--rate-limit=execution_count`)."""

from pathlib import Path

import pytest

from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.scripted import script_body
from tests.fixtures.sequencer import pending
from tests.fixtures.turnstile import HOLDS, Turnstile, answer, request
from tests.fixtures.waiting import wait_until

ON = "--rate-limit=execution_count"
LIMITED = (
    'Invalid argument: Resource count for "R" is limited to 10 which will prevent scheduling of '
    "one or more model instances, the minimum required count is 32"
)


def needing(count: int, *, priority: int = 1) -> str:
    limiter = f'resources {{ name: "R" count: {count} }} priority: {priority}'
    return f"instance_group {{ kind: KIND_CPU rate_limiter {{ {limiter} }} }}"


def sleeps(server, name: str) -> bool:
    """Tell whether the model's worker has nothing to do: who waits in its queue may still run."""
    tasks = Path(f"/proc/{server.process_named(f'mps:{name}').pid}/task").glob("*/stat")
    return {task.read_text().rpartition(") ")[2][0] for task in tasks} == {"S"}


@pytest.fixture
def pair(serve, repository, tmp_path):
    """Return a function that serves models `a` and `b` with these needs."""

    def made(of_a: int, of_b: int, *flags: str):
        models = [
            Turnstile(repository, tmp_path, config=needing(count), name=name)
            for name, count in (("a", of_a), ("b", of_b))
        ]
        return *models, serve(repository.path, flags=flags)

    return made


@pytest.mark.parametrize(
    ("of_a", "of_b", "flags"),
    [
        pytest.param(1, 1, (ON,), id="as much as one needs"),
        pytest.param(2, 1, (ON,), id="the largest need is the limit"),
        pytest.param(2, 2, (ON, "--rate-limit-resource=R:3"), id="a limit"),
        pytest.param(2, 2, (ON, "--rate-limit-resource=R:3:0"), id="a limit of the CPU"),
    ],
)
def test_an_execution_waits_for_what_another_model_holds(pair, of_a, of_b, flags):
    a, b, server = pair(of_a, of_b, *flags)
    with a.held(server):
        (waiting,) = b.queued(server, {})
        assert b.waiting(server) == 1  # it is taken when it can be executed
    assert answer(waiting)[0] == 200
    assert server.infer("a", request()).status == 200


@pytest.mark.parametrize(
    ("of_a", "of_b", "flags"),
    [
        pytest.param(1, 1, (), id="off"),
        pytest.param(1, 1, (ON, "--rate-limit-resource=R:2"), id="enough for both"),
    ],
)
def test_an_execution_that_finds_what_it_needs_does_not_wait(pair, of_a, of_b, flags):
    a, b, server = pair(of_a, of_b, *flags)
    with a.held(server):
        assert answer(b.send(server))[0] == 200


def test_three_executions_of_priority_1_weigh_as_much_as_one_of_priority_3(
    serve, repository, tmp_path
):
    for name, priority in (("often", 1), ("seldom", 3)):
        repository.add("scripted", name, config=needing(1, priority=priority))
    holder = Turnstile(repository, tmp_path, config=needing(1), name="holder")
    server = serve(repository.path, flags=(ON,))
    log = tmp_path / "order"
    waiting = []
    with holder.held(server):
        for number in range(8):
            name = "often" if number % 2 else "seldom"
            code = f"open({str(log)!r}, 'a').write('{name[0]}')"
            connection = Connection(server)
            connection.socket.sendall(infer_bytes(name, script_body(code)))
            waiting.append(connection)
            wait_until(
                lambda name=name, wanted=number // 2 + 1: pending(server, name) == wanted,
                what="the request to wait",
            )
        for name in ("often", "seldom"):
            wait_until(lambda name=name: sleeps(server, name), what=f"{name} to stand in line")
    assert [connection.exchange(b"")[0] for connection in waiting] == [200] * 8
    for connection in waiting:
        connection.close()
    order = log.read_text()
    assert sorted(order[:2]) == ["o", "s"]  # neither has executed: the first to wake is first
    assert order[2:] == "oososs"


def test_a_request_that_waits_for_resources_may_be_taken_back(pair):
    a, b, server = pair(1, 1, ON)
    with a.held(server):
        (leaving,) = b.queued(server, {})
        leaving.close()
        wait_until(lambda: b.failures(server, "CANCELED") == 1, what="the cancel")
    assert server.infer("a", request()).status == 200
    assert server.infer("b", request()).status == 200


def test_what_a_killed_worker_held_is_free(pair):
    a, b, server = pair(1, 1, ON)
    a.gate.touch()
    holding = a.send(server, hold=1)
    wait_until(lambda: HOLDS in server.log_text, what="the model to hold")
    (waiting,) = b.queued(server, {})
    server.process_named("mps:a").kill()
    assert answer(waiting)[0] == 200
    assert answer(holding)[0] == 503
    a.release()


def test_a_need_beyond_the_limit_fails_the_load_and_a_smaller_one_loads(
    serve, repository, tmp_path
):
    Turnstile(repository, tmp_path, config=needing(32), name="a")
    server = serve(
        repository.path, flags=("--model-control-mode=explicit", ON, "--rate-limit-resource=R:10")
    )
    refused = server.load("a")
    assert refused.status == 400
    assert LIMITED in refused.json()["error"]
    row = {"name": "a", "version": "1", "state": "UNAVAILABLE", "reason": LIMITED}
    assert server.index() == [row]
    Turnstile(repository, tmp_path, config=needing(10), name="a")
    assert server.load("a").status == 200
    assert server.infer("a", request()).status == 200


def test_a_reload_beyond_the_limit_leaves_nothing_but_its_answer(serve, repository, tmp_path):
    Turnstile(repository, tmp_path, config=needing(10), name="a")
    server = serve(
        repository.path, flags=("--model-control-mode=explicit", ON, "--rate-limit-resource=R:10")
    )
    assert server.load("a").status == 200
    Turnstile(repository, tmp_path, config=needing(32), name="a")
    assert LIMITED in server.load("a").json()["error"]
    assert server.index() == [{"name": "a", "version": "1", "state": "READY"}]
    assert server.infer("a", request()).status == 200
    assert server.unload("a").status == 200
    (row,) = server.index()
    assert (row["state"], row["reason"]) == ("UNAVAILABLE", "unloaded")
