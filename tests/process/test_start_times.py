"""How long starts take: printed, not judged. `bench/` holds the figures against their targets.

And what a start has not waited for.
"""

import shutil
import statistics
import sys
import time

from tests.fixtures.repository import TEMPLATES
from tests.fixtures.scripted import run_script
from tests.fixtures.server import Server
from tests.fixtures.teller import tell
from tests.fixtures.waiting import wait_until

RUNS = 5
NUMPY = "_multiarray_umath"


PROTOBUF = "_upb/_message"


def has_numpy(process):
    return any(NUMPY in mapped.path for mapped in process.memory_maps())


def has_protobuf(process):
    return any(PROTOBUF in mapped.path for mapped in process.memory_maps())


def test_an_empty_repository_is_served_soon(repository, tmp_path, capsys):
    seconds = []
    for run in range(RUNS):
        begun = time.monotonic()
        with Server.serve(repository.path, log_path=tmp_path / f"{run}.log") as server:
            seconds.append(time.monotonic() - begun)
            assert server.index() == []
    with capsys.disabled():
        milliseconds = 1000 * statistics.median(seconds)
        sys.stdout.write(
            f"\ncold start on an empty repository: {milliseconds:.0f} ms (target 500)\n"
        )


def test_a_trivial_model_is_ready_soon(serve, repository, capsys):
    repository.add("teller", "m")
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    seconds = []
    for _ in range(RUNS):
        begun = time.monotonic()
        assert server.load("m").status == 200
        seconds.append(time.monotonic() - begun)
        assert tell(server, "m").version == 1
        assert server.unload("m").status == 200
    with capsys.disabled():
        milliseconds = 1000 * statistics.median(seconds)
        sys.stdout.write(
            f"\nload call of a trivial model to READY: {milliseconds:.0f} ms (target 100)\n"
        )


def test_a_runtime_is_imported_once_for_all_workers_that_come_after(serve, repository):
    repository.add("scripted", "before")
    shutil.copytree(TEMPLATES / "mlserver_runtimes" / "paths", repository.path / "paths")
    repository.add("scripted", "after")
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    for name in ("before", "paths", "after"):
        assert server.load(name).status == 200
    asked = "import sys; return 'mpserve.runtimes.mlserver_model' in sys.modules"
    assert not run_script(server, "before", asked)
    assert run_script(server, "after", asked)


def test_a_frontend_is_there_before_numpy_and_imports_it_soon_after_a_model_is(serve, repository):
    repository.add("identity", "m")
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    frontend = server.process_named("mps frontend 0")
    assert not has_numpy(frontend)
    assert server.load("m").status == 200
    wait_until(lambda: has_numpy(frontend), what="numpy in the frontend")


def test_the_supervisor_has_what_a_load_call_needs_before_the_first_one_comes(serve, repository):
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    supervisor = server.process_named("mps supervisor")
    wait_until(lambda: has_protobuf(supervisor), what="protobuf in the supervisor")
