"""Traces in files: who is traced, what is recorded, and that all processes write one array."""

import json
import os
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from tests.fixtures.ensembles import add_ensemble, adding, request
from tests.fixtures.grpc_calls import MLSERVER, Calls
from tests.fixtures.payload_streams import ask, read, write_model
from tests.fixtures.waiting import wait_until

MODEL_MOMENTS = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "INFER_RESPONSE_COMPLETE",
    "REQUEST_END",
]
CALLER = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            tensor = pb_utils.Tensor("IN", np.array([1], dtype=np.float32))
            inner = pb_utils.InferenceRequest(
                model_name="first", requested_output_names=["OUT"], inputs=[tensor],
                trace=request.trace(),
            )
            inner.exec()
            assert request.trace().get_context() is None
            out = pb_utils.Tensor("OUT", np.zeros(1, np.float32))
            answers.append(pb_utils.InferenceResponse([out]))
        return answers
"""


@pytest.fixture
def trace_path(tmp_path) -> Path:
    return tmp_path / "trace.json"


@pytest.fixture
def traced(serve, repository, trace_path):
    """Start a server that traces into `trace_path`."""

    def start(*settings: str, flags=()):
        repository.add("adder", "first")
        repository.add("adder", "second")
        add_ensemble(repository, "chain", adding("first", "X", "T"), adding("second", "T", "Y"))
        repository.add("adder", "caller")
        repository.write("caller/1/model.py", CALLER)
        given = [f"--trace-config=triton,file={trace_path}", "--trace-config=level=TIMESTAMPS"]
        given += [f"--trace-config={one}" for one in settings]
        return serve(repository.path, flags=[*given, *flags])

    return start


def infer(server, model="first", **members):
    tensor = "X" if model == "chain" else "IN"
    answer = server.post(f"/v2/models/{model}/infer", {**request(1.0, tensor), **members})
    assert answer.status == 200, answer.body


def records(path: Path) -> list[dict]:
    text = path.read_text()
    return json.loads(text) if text else []


def traces(path: Path, count: int) -> list[dict]:
    """Return what is recorded of so many requests; a trace is written after its answer is sent."""
    wait_until(lambda: len(identities(records(path))) == count)
    return records(path)


def moments(found: list[dict], trace_id: int) -> dict[str, int]:
    return {
        one["timestamps"][0]["name"]: one["timestamps"][0]["ns"]
        for one in found
        if one["id"] == trace_id and "timestamps" in one
    }


def identities(found: list[dict]) -> list[dict]:
    return [one for one in found if "model_name" in one]


def test_a_request_over_http_has_all_its_moments_in_order(traced, trace_path):
    server = traced("rate=1")
    infer(server, id="seven")
    found = traces(trace_path, 1)
    assert identities(found) == [
        {"id": 1, "model_name": "first", "model_version": 1, "request_id": "seven"}
    ]
    told = moments(found, 1)
    names = ["HTTP_RECV_START", "HTTP_RECV_END", *MODEL_MOMENTS, "HTTP_SEND_START", "HTTP_SEND_END"]
    assert sorted(told, key=lambda name: told[name]) == names
    assert sorted(told.values()) == [told[name] for name in names]


def test_a_request_over_grpc_has_the_moments_of_its_wire(traced, trace_path):
    server = traced("rate=1")
    with InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        tensor = InferInput("IN", [1], "FP32")
        tensor.set_data_from_numpy(np.ones(1, np.float32))
        client.infer("first", [tensor])
    told = moments(traces(trace_path, 1), 1)
    wire = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", "GRPC_SEND_START", "GRPC_SEND_END"]
    assert set(told) == {*wire, *MODEL_MOMENTS}


def test_a_stream_of_requests_is_one_trace_with_the_end_of_each_answer(start, tmp_path, trace_path):
    write_model(tmp_path / "streams", "stream")
    given = [f"triton,file={trace_path}", "level=TIMESTAMPS", "rate=1"]
    server = start(tmp_path / "streams", flags=[f"--trace-config={one}" for one in given])
    with grpc.insecure_channel(server.grpc_address) as channel:
        calls = Calls(channel, MLSERVER)
        asked = [ask(calls, "a", id="seven"), ask(calls, "b"), ask(calls, "quiet", "c", "d")]
        assert len(read(calls.stream(iter(asked)))[0]) == 5, "the model adds one at the end"
    found = traces(trace_path, 1)
    assert [one["request_id"] for one in identities(found)] == ["seven"]
    told = [stamp["name"] for one in found for stamp in one.get("timestamps", ())]
    assert sorted(set(told) & set(MODEL_MOMENTS)) == sorted(MODEL_MOMENTS)
    assert told.count("COMPUTE_START") == told.count("REQUEST_END") == 1
    assert told.count("INFER_RESPONSE_COMPLETE") == 6, "five answers and the mark of the end"


def test_each_nth_request_of_all_frontends_is_traced(traced, trace_path):
    server = traced("rate=3", "count=4", flags=["--frontends=2"])
    for _ in range(30):
        infer(server)
    assert len(traces(trace_path, 4)) > 4
    assert server.get("/v2/trace/setting").json()["trace_count"] == "0"


def test_traces_lie_in_files_of_so_many(traced, trace_path):
    server = traced("rate=1", "triton,log-frequency=2")
    for _ in range(5):
        infer(server)
    files = [Path(f"{trace_path}.{number}") for number in range(3)]
    for path, count in zip(files, [2, 2, 1], strict=True):
        traces(path, count)


def test_steps_of_an_ensemble_name_their_parent(traced, trace_path):
    infer(traced("rate=1"), "chain")
    found = traces(trace_path, 3)
    parents = {one["model_name"]: (one["id"], one.get("parent_id")) for one in identities(found)}
    assert parents["chain"] == (1, None)
    assert {parents["first"][1], parents["second"][1]} == {1}
    assert "COMPUTE_START" not in moments(found, 1)
    assert set(moments(found, parents["second"][0])) == set(MODEL_MOMENTS)


def test_a_model_that_hands_its_trace_on_is_the_parent_of_what_it_asks(traced, trace_path):
    infer(traced("rate=1"), "caller")
    found = traces(trace_path, 2)
    parents = {one["model_name"]: (one["id"], one.get("parent_id")) for one in identities(found)}
    assert parents["first"][1] == parents["caller"][0] == 1
    inner, outer = moments(found, parents["first"][0]), moments(found, 1)
    assert outer["COMPUTE_INPUT_END"] <= inner["REQUEST_START"]
    assert inner["REQUEST_END"] <= outer["COMPUTE_OUTPUT_START"]


def test_tensors_are_told_with_their_values(traced, trace_path):
    infer(traced("rate=1", "level=TENSORS"))
    tensors = [one for one in traces(trace_path, 1) if "tensor" in one]
    assert tensors == [
        {
            "id": 1,
            "activity": "TENSOR_QUEUE_INPUT",
            "tensor": {"name": "IN", "data": "1", "shape": "1", "dtype": "FP32"},
        },
        {
            "id": 1,
            "activity": "TENSOR_BACKEND_OUTPUT",
            "tensor": {"name": "OUT", "data": "2", "shape": "1", "dtype": "FP32"},
        },
    ]


def test_settings_change_while_it_runs(traced, trace_path):
    server = traced("rate=1")
    changed = server.post("/v2/models/first/trace/setting", {"trace_level": ["OFF"]}).json()
    assert changed["trace_level"] == ["OFF"]
    infer(server)
    infer(server, "chain")  # not its own setting, and not of `first` in it
    found = identities(traces(trace_path, 3))
    assert [one["model_name"] for one in found if "parent_id" not in one] == ["chain"]
    server.post("/v2/trace/setting", {"trace_level": ["OFF"]})
    server.post(
        "/v2/models/first/trace/setting", {"trace_level": ["TIMESTAMPS"], "trace_count": "1"}
    )
    for _ in range(3):
        infer(server)
    traces(trace_path, 4)
    assert server.get("/v2/models/first/trace/setting").json()["trace_count"] == "0"
    back = server.post("/v2/models/first/trace/setting", {"trace_level": None, "trace_count": None})
    assert back.json()["trace_level"] == ["OFF"]


def test_settings_outlive_the_supervisor(traced, trace_path):
    server = traced("rate=1", flags=["--frontends=1"])
    server.post("/v2/trace/setting", {"trace_rate": "2"})
    server.process_named("mps supervisor").kill()
    for _ in range(4):
        infer(server)
    assert server.get("/v2/trace/setting").json()["trace_rate"] == "2"
    infer(server)
    infer(server)
    traces(trace_path, 3)


def test_a_new_server_begins_its_file_anew(traced, trace_path):
    trace_path.write_text('[{"id":1,"model_name":"first","model_version":1}]')
    infer(traced("rate=1"))
    traces(trace_path, 1)


def test_a_file_of_somebodys_own_ends_the_start(serve, repository, trace_path):
    repository.add("adder", "first")
    trace_path.write_text("mine")
    server = serve(
        repository.path, flags=[f"--trace-config=triton,file={trace_path}"], wait_ready=False
    )
    server.expected_exit_code = 1
    assert server.wait_exit() == 1
    assert f"triton,file={trace_path}: the file holds something else" in server.log_text
    assert trace_path.read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nowhere", "No such file or directory"),
        ("directory", "Is a directory"),
        ("pipe", "it is no regular file"),
    ],
)
def test_a_file_that_can_not_be_written_ends_the_start(serve, repository, tmp_path, kind, reason):
    repository.add("adder", "first")
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = path / "t.json"
    flags = [f"--trace-config=triton,file={path}", "--trace-config=level=TIMESTAMPS"]
    server = serve(repository.path, flags=flags, wait_ready=False)
    server.expected_exit_code = 1
    assert server.wait_exit() == 1
    assert f"triton,file={path}: {reason}" in server.log_text
