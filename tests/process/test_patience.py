"""Processes that serve go before those that load."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpserve.control.patience import PATIENT_NS, slice_ns
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.skipif(not slice_ns(0), reason="the kernel has no slices to ask for")

EXPLICIT = ["--model-control-mode=explicit"]
STARTS = r"""
import os, subprocess\nsubprocess.Popen(['sleep', '60'])\n
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n
while 'gate' not in os.listdir('{folder}'): time.sleep(0.01)
"""


def threads(process) -> list[int]:
    return [thread.id for thread in process.threads()]


def slices(processes) -> set[int]:
    return {slice_ns(thread) for process in processes for thread in threads(process)}


@pytest.fixture
def loading(serve, repository, tmp_path):
    """A server, and a model that is held in its `initialize` until `open` is called."""
    parameters = {"initialize": STARTS.format(folder=tmp_path).replace("\n", "")}
    repository.add("scripted", "m", parameters=parameters)
    server = serve(repository.path, flags=EXPLICIT)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(server.load, "m")
        yield server, lambda: ((tmp_path / "gate").touch(), call.result())[1]
    for program in server.processes_named("sleep"):
        program.kill()


def test_a_worker_lets_others_go_first_until_it_is_ready(loading):
    server, go_on = loading
    wait_until(lambda: server.processes_named("sleep"), what="the model to start its program")
    worker = server.process_named("mps:m")
    started = server.processes_named("sleep")
    assert slices([worker, *started]) == {PATIENT_NS}
    assert go_on().status == 200
    assert slices([worker, *started]) == {slice_ns(0)}, "threads and programs of the model, too"


def test_who_serves_is_prompt_and_who_loads_is_not(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path)
    serving = [*server.processes_named("mps frontend 0"), *server.processes_named("mps:m")]
    assert len(serving) == 2
    assert slices(serving) == {slice_ns(0)}
    loading = [server.process_named("mps supervisor"), server.process_named("mpserve spawner")]
    assert slices(loading) == {PATIENT_NS}


def test_a_supervisor_that_is_started_anew_is_patient(serve, repository):
    server = serve(repository.path)
    supervisor = server.process_named("mps supervisor")
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(
        lambda: {one.pid for one in server.processes_named("mps supervisor")} - {supervisor.pid},
        what="another supervisor",
    )
    wait_until(
        lambda: slices(server.processes_named("mps supervisor")) == {PATIENT_NS}, what="patience"
    )


def test_a_spawner_that_is_started_anew_makes_prompt_workers(serve, repository):
    repository.add("scripted", "m")
    server = serve(repository.path, flags=EXPLICIT)
    spawner = server.process_named("mpserve spawner")
    os.kill(spawner.pid, signal.SIGKILL)
    wait_until(
        lambda: spawner.pid not in {one.pid for one in server.processes_named("mpserve spawner")},
        what="another spawner",
    )
    assert server.load("m").status == 200
    assert slices([server.process_named("mps:m")]) == {slice_ns(0)}
    wait_until(
        lambda: slices([server.process_named("mpserve spawner")]) == {PATIENT_NS}, what="patience"
    )


def test_instances_of_shared_weights_are_prompt_and_their_template_is_not(serve, repository):
    repository.add("hoarder", "m", parameters={"MPSERVE_SHARE_WEIGHTS": "true", "mebibytes": "1"})
    server = serve(repository.path)
    assert slices([server.process_named("mps:m")]) == {slice_ns(0)}
    assert slices([server.process_named("mps template:m")]) == {PATIENT_NS}
