"""Models that are loaded once for all their instances."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import psutil
import pytest

from tests.fixtures.memory import pss_bytes
from tests.fixtures.pace import within
from tests.fixtures.waiting import wait_until

MEBIBYTE = 1 << 20
HOARD = 200
INSTANCES = 3
MAY_ADD = 60 * MEBIBYTE  # what three workers, a template and a second queue cost beside the hoard
EXPLICIT = ["--model-control-mode=explicit"]
SHARED = {"mebibytes": str(HOARD), "MPSERVE_SHARE_WEIGHTS": "true"}
BACK_SECONDS = within(10)


def group(count: int) -> str:
    return f"instance_group {{ count: {count} kind: KIND_CPU }}"


def asked(server) -> int:
    question = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}
    answer = server.infer("m", question)
    assert answer.status == 200, answer
    return answer.json()["outputs"][0]["data"][0]


def pids(server, name="mps:m") -> set[int]:
    return {process.pid for process in server.processes_named(name)}


def parents(server) -> set[int]:
    return {process.ppid() for process in server.processes_named("mps:m")}


def test_instances_cost_one_load_and_an_unload_gives_it_back(serve, repository):
    repository.add("hoarder", "m", config=group(INSTANCES), parameters=SHARED)
    server = serve(repository.path, flags=EXPLICIT)
    before = pss_bytes(server.processes())
    assert server.load("m").status == 200
    assert len(pids(server)) == INSTANCES
    assert parents(server) == pids(server, "mps template:m")
    assert [asked(server) for _ in range(8)] == [HOARD] * 8
    grown = pss_bytes(server.processes()) - before
    assert HOARD * MEBIBYTE < grown < HOARD * MEBIBYTE + MAY_ADD, f"{grown / MEBIBYTE:.1f} MiB"
    assert server.unload("m").status == 200
    wait_until(lambda: not pids(server) | pids(server, "mps template:m"), what="all to end")
    assert pss_bytes(server.processes()) - before < MAY_ADD


def test_a_killed_instance_is_forked_from_the_same_load(serve, repository):
    repository.add("hoarder", "m", config=group(2), parameters=SHARED)
    server = serve(repository.path)
    template = pids(server, "mps template:m")
    old = pids(server)
    os.kill(min(old), signal.SIGKILL)
    wait_until(
        lambda: len(pids(server)) == 2 and pids(server) != old,
        deadline=BACK_SECONDS,
        what="another instance",
    )
    assert parents(server) == template == pids(server, "mps template:m")
    assert asked(server) == HOARD


def test_instances_outlive_their_template_and_the_next_one_loads_again(serve, repository):
    repository.add("hoarder", "m", config=group(2), parameters=SHARED)
    server = serve(repository.path)
    old, (template,) = pids(server), pids(server, "mps template:m")
    os.kill(template, signal.SIGKILL)
    wait_until(lambda: not pids(server, "mps template:m"), what="the template to end")
    assert asked(server) == HOARD
    assert pids(server) == old
    os.kill(min(old), signal.SIGKILL)
    wait_until(
        lambda: len(pids(server)) == 2 and len(pids(server, "mps template:m")) == 1,
        deadline=BACK_SECONDS,
        what="an instance of another template",
    )
    assert asked(server) == HOARD


def test_a_change_of_the_number_of_instances_forks_from_the_same_load(serve, repository):
    repository.add("hoarder", "m", config=group(1), parameters=SHARED)
    server = serve(repository.path, flags=EXPLICIT)
    assert server.load("m").status == 200
    first, template = pids(server), pids(server, "mps template:m")
    config = (repository.path / "m" / "config.pbtxt").read_text()
    repository.write("m/config.pbtxt", config.replace(group(1), group(3)))
    assert server.load("m").status == 200
    wait_until(lambda: len(pids(server)) == 3, what="three instances")
    assert first < pids(server)
    assert parents(server) == template


def test_the_next_supervisor_knows_the_template(serve, repository):
    repository.add("hoarder", "m", config=group(2), parameters=SHARED)
    server = serve(repository.path, flags=EXPLICIT)
    assert server.load("m").status == 200
    template, old = pids(server, "mps template:m"), pids(server)
    server.process_named("mps supervisor").kill()
    os.kill(min(old), signal.SIGKILL)
    wait_until(
        lambda: len(pids(server)) == 2 and pids(server) != old,
        deadline=BACK_SECONDS,
        what="another instance",
    )
    assert pids(server, "mps template:m") == template
    wait_until(lambda: server.unload("m").status == 200, what="the unload")
    wait_until(lambda: not pids(server) | pids(server, "mps template:m"), what="all to end")


@pytest.mark.parametrize(
    ("begin", "why"),
    [
        ("threading.Thread(target=time.sleep, args=[60], daemon=True).start()", "threads"),
        ("self.kept = socket.socketpair()", "it has left open socket:"),
        ("raise ValueError('no weights')", "no weights"),
    ],
    ids=["thread", "socket", "raises"],
)
def test_a_load_that_can_not_be_shared_fails_with_the_reason(serve, repository, begin, why):
    source = f"""
        import socket, threading, time

        class TritonPythonModel:
            def initialize(self, args):
                {begin}

            def execute(self, requests):
                return []
    """
    files = {"1/model.py": dedent(source)}
    repository.add("hoarder", "m", config=group(2), parameters=SHARED, files=files)
    server = serve(repository.path, flags=EXPLICIT)
    answer = server.load("m")
    assert answer.status == 400
    assert why in answer.json()["error"]
    wait_until(lambda: not pids(server) | pids(server, "mps template:m"), what="all to end")


def test_the_end_of_the_server_ends_a_load_that_hangs(serve, repository):
    source = """
        import time

        class TritonPythonModel:
            def initialize(self, args):
                time.sleep(600)
    """
    files = {"1/model.py": dedent(source)}
    repository.add("hoarder", "m", config=group(2), parameters=SHARED, files=files)
    server = serve(repository.path, flags=[*EXPLICIT, "--exit-timeout-secs=10"])
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(server.load, "m")
        wait_until(lambda: pids(server, "mps template:m"), what="the template")
        (template,) = pids(server, "mps template:m")
        server.stop()
        assert load.exception(timeout=BACK_SECONDS) or load.result().status != 200
    wait_until(lambda: not psutil.pid_exists(template), what="the template to end")


def test_another_word_than_true_or_false_fails_the_load(serve, repository):
    repository.add("hoarder", "m", parameters={**SHARED, "MPSERVE_SHARE_WEIGHTS": "maybe"})
    server = serve(repository.path, flags=EXPLICIT)
    answer = server.load("m")
    assert answer.status == 400
    assert (
        "parameter 'MPSERVE_SHARE_WEIGHTS' is 'maybe'; use true or false" in answer.json()["error"]
    )
