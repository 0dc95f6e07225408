"""Whatever is changed or goes wrong at a reload, clients that never pause see no failure.

`test_reload_under_load` has new versions and new content, `test_ensembles` members of ensembles.
"""

import json

import pytest

from tests.fixtures.closed_loop import ClosedLoop, infer_bytes
from tests.fixtures.pace import full_or, within
from tests.fixtures.teller import teller_bytes, teller_request
from tests.fixtures.waiting import wait_until

CLIENTS = 8
RELOADS = int(full_or(10, 4))
LOAD_LIMIT_SECONDS = int(within(2))  # in which sound models load, beside clients that never pause
EXPLICIT = ["--model-control-mode=explicit", "--load-model=m"]
POLL = ["--model-control-mode=poll", "--repository-poll-secs=1"]
POLICY = "version_policy { all {} }"
GROUP = "instance_group [ {{ count: {} kind: KIND_CPU }} ]"
LABELLED = (
    'backend: "python"\n'
    'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 2 ] } ]\n'
    'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]\n'
)


def version_bytes(version: int) -> bytes:
    return infer_bytes(f"m/versions/{version}", teller_request())


@pytest.mark.timeout(180)
def test_several_versions_are_exchanged_at_once(serve, repository):
    values = {"1/value.txt": "0", "2/value.txt": "0"}
    repository.add("teller", "m", versions=(1, 2), config=POLICY, files=values)
    server = serve(repository.path, flags=EXPLICIT)
    with (
        ClosedLoop(server, version_bytes(1), clients=CLIENTS // 2) as first,
        ClosedLoop(server, version_bytes(2), clients=CLIENTS // 2) as second,
    ):
        for value in range(1, RELOADS + 1):
            files = {"1/value.txt": str(value), "2/value.txt": str(value)}
            repository.add("teller", "m", versions=(1, 2), config=POLICY, files=files)
            assert server.load("m").status == 200
            for load in (first, second):
                load.wait_answered(
                    that=lambda outcome, value=value: outcome.value("VALUE") == value
                )
    assert first.failed == second.failed == []


@pytest.mark.timeout(180)
def test_instances_come_and_go_and_the_others_keep_their_state(serve, repository):
    repository.add("teller", "m", config=GROUP.format(2))
    server = serve(repository.path, flags=EXPLICIT)
    config = (repository.path / "m/config.pbtxt").read_text()
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        for count in [4, 1, 3, 2] * (RELOADS // 4):
            before = {one.pid for one in server.processes_named("mps:m")}
            (repository.path / "m/.config.pbtxt.swp").write_text("an editor's")
            repository.write("m/config.pbtxt", config.replace("count: 2", f"count: {count}"))
            assert server.load("m").status == 200
            wait_until(
                lambda count=count: len(server.processes_named("mps:m")) == count,
                what=f"{count} workers",
            )
            after = {one.pid for one in server.processes_named("mps:m")}
            assert len(before & after) == min(len(before), count), "a worker was started anew"
            load.wait_answered()
    assert load.failed == []


@pytest.mark.timeout(180)
def test_the_configuration_is_changed_by_file_and_by_call(serve, repository):
    repository.add("teller", "m", parameters={"step": "0"})
    server = serve(repository.path, flags=EXPLICIT)
    config = (repository.path / "m/config.pbtxt").read_text()
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        for step in range(1, RELOADS + 1):
            text = config.replace('string_value: "0"', f'string_value: "{step}"')
            repository.write("m/config.pbtxt", text)
            assert server.load("m").status == 200
            shown = server.get("/v2/models/m/config").json()
            assert shown["parameters"]["step"]["string_value"] == str(step)
            shown["parameters"]["step"]["string_value"] = f"{step} by call"
            assert server.load("m", config=json.dumps(shown)).status == 200
            shown = server.get("/v2/models/m/config").json()
            assert shown["parameters"]["step"]["string_value"] == f"{step} by call"
            load.wait_answered()
    assert load.failed == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", ["explicit", "poll"])
def test_labels_are_changed(serve, repository, mode):
    repository.add("identity", "m", files={"labels.txt": "low 0\nhigh 0\n"})
    repository.write("m/config.pbtxt", LABELLED)
    flags = (
        EXPLICIT
        if mode == "explicit"
        else ["--model-control-mode=poll", "--repository-poll-secs=1"]
    )
    server = serve(repository.path, flags=flags)
    request = infer_bytes(
        "m",
        {
            "inputs": [{"name": "INPUT0", "shape": [2], "datatype": "FP32", "data": [1, 5]}],
            "outputs": [{"name": "OUTPUT0", "parameters": {"classification": 1}}],
        },
    )
    with ClosedLoop(server, request, clients=CLIENTS) as load:
        for step in range(1, 3 if mode == "poll" else RELOADS):
            repository.write("m/labels.txt", f"low {step}\nhigh {step}\n")
            if mode == "explicit":
                assert server.load("m").status == 200
            load.wait_answered(
                that=lambda one, step=step: one.value("OUTPUT0").endswith(f":high {step}")
            )
    assert load.failed == []


BREAKAGES = {
    "config that can not be parsed": ("config.pbtxt", "no { configuration", 500, "poll"),
    "config that is invalid": (
        "config.pbtxt",
        'backend: "python" max_batch_size: -1',
        500,
        "poll",
    ),
    "import": ("1/model.py", "import there_is_no_such_module\n", 400, "there_is_no_such_module"),
    "syntax": ("1/model.py", "def broken(:\n", 400, "SyntaxError"),
    "load": ("1/value.txt", "no number", 400, "ValueError"),
    "crash": ("1/model.py", "import os; os._exit(7)\n", 400, "ended with exit code 7"),
    "signal": ("1/model.py", "import os; os.kill(os.getpid(), 11)\n", 400, "SIGSEGV"),
    "hang": (
        "1/model.py",
        "import time; time.sleep(3600)\n",
        400,
        f"longer than {LOAD_LIMIT_SECONDS} s",
    ),
    "no class": ("1/model.py", "answer = 42\n", 400, "TritonPythonModel"),
    "missing file": ("1/model.py", None, 400, "model.py"),
}
WARM_UP = """
model_warmup [ {
  name: "first" batch_size: 1
  inputs { key: "SECONDS" value { data_type: TYPE_FP32 dims: [ 7 ] zero_data: true } }
} ]
"""


@pytest.mark.timeout(180)
def test_a_reload_that_fails_anywhere_leaves_the_old_one_and_says_why(serve, repository):
    repository.add("teller", "m", files={"1/value.txt": "5"})
    limit = f"--model-load-timeout-secs={LOAD_LIMIT_SECONDS}"
    server = serve(repository.path, flags=[*EXPLICIT, limit])
    (worker,) = server.processes_named("mps:m")
    with ClosedLoop(server, teller_bytes("m"), clients=CLIENTS) as load:
        for path, text, status, why in BREAKAGES.values():
            repository.add("teller", "m", files={"1/value.txt": "5"})
            if text is None:
                repository.remove(f"m/{path}")
            else:
                repository.write(f"m/{path}", text)
            answer = server.load("m")
            assert answer.status == status, answer
            assert why in answer.json()["error"]
            load.wait_answered()
        repository.add("teller", "m", config=WARM_UP, files={"1/value.txt": "5"})
        answer = server.load("m")
        assert answer.status == 400
        assert "unexpected shape for input 'SECONDS'" in answer.json()["error"]
        load.wait_answered()
    assert load.failed == []
    assert {outcome.value("PID") for outcome in load.outcomes} == {worker.pid}
    assert {row["state"] for row in server.index()} == {"READY"}
    assert server.get("/v2/health/ready").status == 200
