"""What a model finds in a process that was forked ahead of need: nothing else than in a fork."""

import json

import psutil
import pytest

from tests.fixtures.memory import pss_bytes
from tests.fixtures.scripted import run_script
from tests.fixtures.server import STANDBY
from tests.fixtures.waiting import wait_until

EXPLICIT = ["--model-control-mode=explicit"]
WORLD = """
import gc, os, random, resource, signal, sys
return {
    "pid": os.getpid(),
    "drawn": [random.random(), float(np.random.rand())],
    "same": {
        "modules": sorted(name for name in sys.modules if name not in sys.stdlib_module_names),
        "path": sys.path,
        "importers": sorted(sys.path_importer_cache),
        "argv": sys.argv,
        "bytecode": sys.dont_write_bytecode,
        "threads": sorted(one.name for one in threading.enumerate()),
        "signals": {str(one): str(signal.getsignal(one)).split(" at ")[0] for one in (2, 15, 17)},
        "limits": resource.getrlimit(resource.RLIMIT_DATA),
        "collects": [gc.isenabled(), gc.get_freeze_count() > 0],
        "environment": {k: v for k, v in os.environ.items() if k != "_"},
        "model_dir": pb_utils.get_model_dir(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "stdout": [type(sys.stdout).__name__, sys.stdout.line_buffering, sys.stdout.encoding],
    },
}
"""


@pytest.fixture
def server(serve, repository):
    repository.add("scripted", "m")
    repository.add("scripted", "n")
    return serve(repository.path, flags=EXPLICIT)


def world_of(server, model):
    assert server.load(model).status == 200
    return run_script(server, model, WORLD)


def test_a_model_finds_what_it_finds_in_a_fork(server):
    standby = server.process_named(STANDBY)
    born = world_of(server, "m")
    assert born["pid"] == standby.pid
    assert server.unload("m").status == 200
    stopped = server.process_named(STANDBY)
    stopped.suspend()  # so the next one is a fork
    wait_until(lambda: not stopped.is_running())
    forked = world_of(server, "m")
    assert forked["same"] == born["same"]
    assert not set(forked["drawn"]) & set(born["drawn"])


def test_other_threads_and_other_modules_need_another_one(server, repository):
    first = server.process_named(STANDBY)
    repository.add("scripted", "alone", parameters={"MPSERVE_THREADS": "1"})
    assert world_of(server, "alone")["pid"] != first.pid
    wait_until(lambda: not first.is_running())
    second = server.process_named(STANDBY)
    repository.add("scripted", "also", parameters={"MPSERVE_THREADS": "1"})
    found = world_of(server, "also")
    assert found["pid"] == second.pid
    assert found["same"]["environment"]["OMP_NUM_THREADS"] == "1"


def test_what_is_too_long_for_it_goes_to_a_fork(server, repository):
    waiting = server.process_named(STANDBY)
    repository.add("scripted", "long", parameters={"text": "x" * (1 << 18)})
    assert world_of(server, "long")["pid"] != waiting.pid
    assert world_of(server, "m")["pid"] == waiting.pid


def test_it_costs_some_mebibytes(server):
    """What others share with it counts half, so all are asked, with it and without."""
    standby = server.process_named(STANDBY)
    everyone = server.processes()
    with_it = pss_bytes(everyone)
    spawner = server.process_named("mpserve spawner")
    spawner.suspend()
    standby.kill()
    wait_until(lambda: standby.status() == psutil.STATUS_ZOMBIE)
    without = pss_bytes([one for one in everyone if one.pid != standby.pid])
    spawner.resume()
    assert with_it - without < 12 << 20, json.dumps([with_it, without])
