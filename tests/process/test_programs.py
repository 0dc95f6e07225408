"""Workers in another environment or with another allocator: executed, and equal otherwise."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mpserve.errors import LoadError
from mpserve.settings import Allocator
from mpserve.supervisor.allocator import find_allocator
from tests.fixtures.teller import ask, tell
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
SPECIAL_MODEL = """
import json, sys
import numpy as np
import triton_python_backend_utils as pb_utils
import special

class TritonPythonModel:
    def execute(self, requests):
        text = json.dumps([special.WORD, sys.prefix])
        out = pb_utils.Tensor("OUT", np.array([text.encode()], dtype=object))
        return [pb_utils.InferenceResponse([out]) for _ in requests]
"""
SPECIAL_CONFIG = """
backend: "python"
input [ { name: "IN" data_type: TYPE_FP32 dims: 1 } ]
output [ { name: "OUT" data_type: TYPE_STRING dims: 1 } ]
parameters { key: "EXECUTION_ENV_PATH" value { string_value: "%s" } }
"""
IN = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [1]}]}


def library(allocator):
    try:
        return find_allocator(allocator)
    except LoadError as error:
        pytest.skip(str(error))


def loaded_libraries(pid):
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.fixture
def environment(tmp_path):
    """An environment with a module that no other has."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "special.py").write_text("WORD = 'only here'\n")
    return folder


def add_special(repository, place):
    folder = repository.path / "special"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(SPECIAL_MODEL)
    (folder / "config.pbtxt").write_text(SPECIAL_CONFIG % place)
    return folder


def special_answer(server):
    answer = server.infer("special", IN)
    assert answer.status == 200, answer
    return json.loads(answer.json()["outputs"][0]["data"][0])


@pytest.mark.parametrize("allocator", [Allocator.TCMALLOC, Allocator.JEMALLOC])
def test_workers_run_on_the_allocator_of_the_server(serve, repository, allocator):
    name = Path(library(allocator)).name
    repository.add("teller", "a")
    repository.add("teller", "plain", parameters={"MPSERVE_ALLOCATOR": "malloc"})
    server = serve(repository.path, flags=[f"--allocator={allocator.value}"])
    assert name in loaded_libraries(tell(server, "a").pid)
    assert name not in loaded_libraries(tell(server, "plain").pid)
    assert name not in loaded_libraries(server.pid)
    assert [one.pid for one in server.processes_named("mps:a")] == [tell(server, "a").pid]


def test_a_model_chooses_its_own_allocator(serve, repository):
    name = Path(library(Allocator.JEMALLOC)).name
    repository.add("teller", "a", parameters={"MPSERVE_ALLOCATOR": "jemalloc"})
    server = serve(repository.path)
    assert name in loaded_libraries(tell(server, "a").pid)


def test_an_executed_worker_dies_drains_and_reloads_as_a_forked_one(serve, repository):
    library(Allocator.JEMALLOC)
    repository.add("teller", "a")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=a", "--allocator=jemalloc"])
    first = tell(server, "a")
    os.kill(first.pid, 9)
    wait_until(lambda: ask(server, "a").status == 200, what="another worker")
    second = tell(server, "a")
    assert second.pid != first.pid
    repository.write("a/1/value.txt", "5")
    assert server.load("a").status == 200
    assert tell(server, "a").value == 5
    assert server.unload("a").status == 200
    wait_until(lambda: not server.processes_named("mps:a"), what="the workers to be gone")


def test_an_unknown_allocator_of_a_model_fails_its_load_alone(serve, repository):
    repository.add("teller", "a", parameters={"MPSERVE_ALLOCATOR": "what"})
    repository.add("teller", "b")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=b"])
    answer = server.load("a")
    assert answer.status == 400
    assert "unknown allocator 'what', use one of malloc" in answer.json()["error"]
    assert tell(server, "b").version == 1


def test_a_model_runs_in_the_environment_of_its_folder(serve, repository, environment):
    add_special(repository, environment)
    server = serve(repository.path)
    assert special_answer(server) == ["only here", str(environment)]


def test_a_packed_environment_is_unpacked_for_all_instances(
    serve, repository, environment, tmp_path
):
    folder = add_special(repository, "$$TRITON_MODEL_DIRECTORY/environment.tar.gz")
    with tarfile.open(folder / "environment.tar.gz", "w:gz") as archive:
        for path in environment.iterdir():
            archive.add(path, arcname=path.name)
    config = (folder / "config.pbtxt").read_text()
    (folder / "config.pbtxt").write_text(config + "instance_group [ { count: 2 } ]")
    unpacked = tmp_path / "unpacked"
    server = serve(repository.path, flags=[f"--environments-dir={unpacked}"])
    word, prefix = special_answer(server)
    assert word == "only here"
    assert Path(prefix).parent == unpacked
    assert len(server.processes_named("mps:special")) == 2


def test_an_environment_that_is_not_there_fails_the_load_with_its_name(serve, repository):
    add_special(repository, "/nowhere/environment")
    server = serve(repository.path, flags=[EXPLICIT])
    answer = server.load("special")
    assert answer.status == 400
    assert (
        "environment '/nowhere/environment': there is no such folder or archive"
        in answer.json()["error"]
    )


def test_an_mlserver_model_runs_in_its_environment(start, repository, environment):
    folder = repository.path / "special"
    folder.mkdir()
    (folder / "runtime.py").write_text(
        "import sys\n"
        "import special\n"
        "from mlserver import MLModel\n"
        "from mlserver.codecs import StringCodec\n"
        "from mlserver.types import InferenceResponse\n"
        "class Special(MLModel):\n"
        "    async def predict(self, payload):\n"
        "        words = StringCodec.encode_output('OUT', [special.WORD, sys.prefix])\n"
        "        return InferenceResponse(model_name=self.name, outputs=[words])\n"
    )
    settings = {
        "name": "special",
        "implementation": "runtime.Special",
        "parameters": {"environment_path": str(environment)},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    server = start(repository.path)
    answer = server.infer("special", IN)
    assert answer.status == 200, answer
    assert answer.json()["outputs"][0]["data"] == ["only here", str(environment)]


def test_an_environment_without_an_activation_fails_the_load_in_tritons_words(
    serve, repository, environment
):
    script = environment / "bin" / "activate"
    script.unlink()
    add_special(repository, environment)
    server = serve(repository.path, flags=[EXPLICIT])
    answer = server.load("special")
    assert answer.status == 400
    told = f"Path {script} does not exist. The Python environment should contain an 'activate'"
    assert told in answer.json()["error"]


def test_a_wrong_word_for_the_place_of_inputs_fails_the_load_in_tritons_words(serve, repository):
    parameter = "FORCE_CPU_ONLY_INPUT_TENSORS"
    repository.add("teller", "wrong", parameters={parameter: "maybe"})
    for word in ("yes", "no"):
        repository.add("teller", word, parameters={parameter: word})
    server = serve(
        repository.path, flags=[EXPLICIT, "--load-model=*", "--exit-on-error=false"],
        wait_ready=False,
    )  # fmt: skip
    wait_until(lambda: server.index()[-1].get("state") == "READY")
    rows = {row["name"]: row for row in server.index()}
    assert rows["wrong"]["reason"] == f"Unsupported: Incorrect value for {parameter}: maybe'"
    assert tell(server, "yes").version == tell(server, "no").version == 1


def test_a_stub_of_tritons_is_not_used_and_that_is_told(serve, repository):
    repository.add("teller", "m", files={"triton_python_backend_stub": "of another Python"})
    server = serve(repository.path, flags=["--log-format=json"])
    assert tell(server, "m").version == 1
    (event,) = server.events("stub.unused")
    assert event["path"] == str(repository.path / "m" / "triton_python_backend_stub")
