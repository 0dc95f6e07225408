"""On which CPUs workers run, and how many threads their libraries use."""

import json
import os
from textwrap import dedent

import psutil
import pytest

from tests.fixtures.waiting import wait_until

MODEL = dedent(
    """
    import os
    import numpy as np
    import threadpoolctl
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            np.ones((200, 200)) @ np.ones((200, 200))
            pools = threadpoolctl.threadpool_info()
            told = [max(pool["num_threads"] for pool in pools), int(os.environ["OMP_NUM_THREADS"])]
            answer = pb_utils.Tensor("THREADS", np.array(told, np.int32))
            return [pb_utils.InferenceResponse([answer]) for _ in requests]
    """
)
CONFIG = """
backend: "python"
input { name: "X" data_type: TYPE_INT32 dims: [1] }
output { name: "THREADS" data_type: TYPE_INT32 dims: [2] }
"""
ASK = {"inputs": [{"name": "X", "shape": [1], "datatype": "INT32", "data": [1]}]}
CPUS = len(os.sched_getaffinity(0))


@pytest.fixture
def threads_of(serve, tmp_path):
    """Return a function that serves a model and asks for its threads: NumPy's, and OpenMP's."""

    def asked(config: str, **environment: str) -> list[int]:
        folder = tmp_path / "models" / "m"
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").write_text(MODEL)
        (folder / "config.pbtxt").write_text(CONFIG + config)
        server = serve(tmp_path / "models", environment=environment)
        answer = server.infer("m", ASK)
        assert answer.status == 200, answer
        return json.loads(answer.body)["outputs"][0]["data"]

    return asked


def test_the_instances_of_a_model_share_the_cpus(threads_of):
    assert threads_of(f"instance_group {{ count: {CPUS} kind: KIND_CPU }}") == [1, 1]


def test_a_model_may_say_how_many_threads_it_wants(threads_of):
    parameter = 'parameters { key: "MPSERVE_THREADS" value { string_value: "3" } }'
    assert threads_of(parameter) == [3, 3]


def test_what_the_operator_has_set_holds(threads_of):
    group = f"instance_group {{ count: {CPUS} kind: KIND_CPU }}"
    assert threads_of(group, OMP_NUM_THREADS="2")[1] == 2


def test_libraries_of_a_model_that_computes_nothing_have_no_threads(serve, repository):
    repository.add("identity", "m")
    server = serve(repository.path)
    worker = psutil.Process(server.process_named("mps:m").pid)
    # Its model's, and the one that hears the supervisor.
    wait_until(lambda: worker.num_threads() == 2, what="two threads")


def test_a_group_runs_on_the_cpus_of_its_host_policy(serve, repository):
    last = max(os.sched_getaffinity(0))
    repository.add("identity", "free")
    group = 'instance_group { host_policy: "one" kind: KIND_CPU }'
    repository.add("identity", "bound", config=group)
    server = serve(repository.path, flags=[f"--host-policy=one,cpu-cores={last}-{last}"])
    cpus = {
        name: psutil.Process(server.process_named(f"mps:{name}").pid).cpu_affinity()
        for name in ("free", "bound")
    }
    assert cpus == {"free": sorted(os.sched_getaffinity(0)), "bound": [last]}


def test_a_host_policy_of_cpus_that_are_not_there_fails_the_load(serve, repository):
    repository.add("identity", "m")
    server = serve(
        repository.path,
        flags=[
            "--host-policy=cpu,cpu-cores=5000-5001",
            "--model-control-mode=explicit",
        ],
    )
    answer = server.load("m")
    assert answer.status == 400
    assert "CPUs 5000-5001 of the host policy are not there" in answer.json()["error"]
