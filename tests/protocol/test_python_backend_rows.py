"""Rows 134 to 147 of the checklist: what Triton's Python backend asks of a model, from outside."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from tests.fixtures.server import Answer, Server
from tests.fixtures.waiting import wait_until

EVALUATING = dedent(
    """
    import json
    import os
    from pathlib import Path

    import numpy as np
    import triton_python_backend_utils as pb_utils


    def text(value, **more):
        array = np.array([value], dtype=object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("RESULT", array)], **more)


    def error(code):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError("on purpose", code))


    class TritonPythonModel:
        def initialize(self, args):
            self.args = args

        def execute(self, requests):
            (request,) = requests
            code = pb_utils.get_input_tensor_by_name(request, "SCRIPT").as_numpy()[0].decode()
            return eval(code, {**globals(), "args": self.args})

        def finalize(self):
            Path(os.environ["FINALIZED"], self.args["model_instance_name"]).touch()
    """
)
TOGETHER = dedent(
    """
    import numpy as np
    import triton_python_backend_utils as pb_utils


    def text(value):
        array = np.array([[value]], dtype=object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("RESULT", array)])


    class TritonPythonModel:
        def execute(self, requests):
            code = pb_utils.get_input_tensor_by_name(requests[0], "SCRIPT").as_numpy()
            return eval(code.item().decode(), {**globals(), "requests": requests})
    """
)
RETURNING = dedent(
    """
    import triton_python_backend_utils as pb_utils


    class TritonPythonModel:
        def execute(self, requests):
            return [pb_utils.InferenceResponse([])]
    """
)
WITHOUT_EXECUTE = "class TritonPythonModel:\n    pass\n"
COMPLETING = dedent(
    """
    import triton_python_backend_utils as pb_utils


    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            config.set_max_batch_size(4)
            config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [2]})
            config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [2]})
            return config

        def execute(self, requests):
            return [
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", one.inputs()[0].as_numpy())])
                for one in requests
            ]
    """
)
TENSORS = """
input { name: "SCRIPT" data_type: TYPE_STRING dims: [1] }
output { name: "RESULT" data_type: TYPE_STRING dims: [1] }
"""
CONTRADICTION = 'input { name: "IN" data_type: TYPE_INT32 dims: [2] }'
HOUR_US = 3_600_000_000
PAIRS = f"""
max_batch_size: 2
dynamic_batching {{ preferred_batch_size: 2 max_queue_delay_microseconds: {HOUR_US} }}
"""
DECOUPLED = "model_transaction_policy { decoupled: true }"
MODELS = {
    "together": (TOGETHER, TENSORS + PAIRS),
    "returning": (RETURNING, TENSORS + DECOUPLED),
    "rows": (EVALUATING, TENSORS + "instance_group { count: 2 }"),
    "mute": (WITHOUT_EXECUTE, TENSORS),
    "completing": (COMPLETING, ""),
    "contradicting": (COMPLETING, CONTRADICTION),
}
EXPLICIT = ["--model-control-mode=explicit", "--load-model=rows", "--load-model=mute"]
ALSO = ["--load-model=together", "--load-model=returning"]


@pytest.fixture(scope="module")
def finalized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finalized")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "models"
    for name, (code, config) in MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.py").write_text(code)
        (folder / name / "config.pbtxt").write_text('backend: "python"' + config)
    return folder


@pytest.fixture(scope="module")
def server(nothing_is_left_behind: None, models: Path, finalized: Path) -> Iterator[Server]:
    with Server.serve(
        models,
        log_path=models.parent / "log",
        flags=[*EXPLICIT, *ALSO],
        environment={"FINALIZED": str(finalized)},
    ) as started:
        yield started


def run(server: Server, code: str, *, model: str = "rows") -> Answer:
    tensor = {"name": "SCRIPT", "datatype": "BYTES", "shape": [1], "data": [code]}
    return server.infer(model, {"inputs": [tensor]})


def run_pair(server: Server, code: str) -> list[Answer]:
    """Let the model answer two requests in one batch."""
    tensor = {"name": "SCRIPT", "datatype": "BYTES", "shape": [1, 1], "data": [code]}
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(server.infer, "together", {"inputs": [tensor]}) for _ in range(2)]
        return [one.result() for one in asked]


def check_failed(answer: Answer, status: int, words: str) -> None:
    assert answer.status == status, answer
    assert words in answer.json()["error"]


def check_that_it_works(server: Server) -> None:
    answer = run(server, "[text('well')]")
    assert (answer.status, answer.json()["outputs"][0]["data"]) == (200, ["well"])


def test_row_134_the_arguments_of_initialize(server, models):
    answer = run(server, "[text(json.dumps(args))]")
    arguments = json.loads(answer.json()["outputs"][0]["data"][0])
    config = json.loads(arguments.pop("model_config"))
    assert config["name"] == "rows"
    assert arguments.pop("model_instance_name") in {"rows_0_0", "rows_0_1"}
    assert arguments == {
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
        "model_repository": str(models / "rows"),
        "model_version": "1",
        "model_name": "rows",
    }


def test_row_135_what_execute_raises_is_told_with_its_place(server):
    check_failed(run(server, "1 / 0"), 500, "ZeroDivisionError: division by zero")
    check_failed(run(server, "1 / 0"), 500, "model.py(")
    check_that_it_works(server)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("UNKNOWN", 400),
        ("INTERNAL", 500),
        ("NOT_FOUND", 404),
        ("INVALID_ARG", 400),
        ("UNAVAILABLE", 503),
        ("UNSUPPORTED", 501),
        ("ALREADY_EXISTS", 400),
        ("CANCELLED", 400),
    ],
)
def test_row_136_codes_of_errors_are_statuses(server, code, status):
    answer = run(server, f"[error(pb_utils.TritonError.{code})]")
    assert (answer.status, answer.json()) == (status, {"error": "on purpose"})
    check_that_it_works(server)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("[]", "Number of InferenceResponse objects do not match the number of InferenceRequest"),
        ("[text('a'), text('b')]", "and InferenceResponse(s) size is:2"),
        ("'a'", "Expected a list in the execute return, found type '<class 'str'>'."),
        ("None", "Expected a list in the execute return, found type '<class 'NoneType'>'."),
        ("[1]", "Expected an 'InferenceResponse' object in the execute function return list"),
    ],
)
def test_row_137_wrong_results_are_told(server, code, words):
    check_failed(run(server, code), 500, words)
    check_that_it_works(server)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("[]", "InferenceRequest(s) size is:2, and InferenceResponse(s) size is:0"),
        ("[text('a')]", "InferenceRequest(s) size is:2, and InferenceResponse(s) size is:1"),
        ("[text('a'), 1]", "execute function return list, found type '<class 'int'>'."),
        ("(text('a'), text('b'))", "Expected a list in the execute return, found type"),
    ],
)
def test_rows_135_and_137_what_goes_wrong_fails_all_requests_of_the_batch(server, code, words):
    for answer in run_pair(server, code):
        check_failed(answer, 500, words)
    told = [one.json()["outputs"][0]["data"][0] for one in run_pair(server, "[text('a')] * 2")]
    assert told == ["a", "a"]


def test_row_137_a_decoupled_model_that_returns_something_is_told(server):
    answer = server.post("/v2/models/returning/generate", {"SCRIPT": "-"})
    text = (
        "Python model 'returning_0' is using the decoupled mode and the execute function must"
        " return None."
    )
    check_failed(answer, 400, text)


def test_row_138_of_a_batch_only_the_request_without_a_response_is_failed(server):
    answers = sorted(run_pair(server, "[text('a'), None]"), key=lambda one: one.status)
    assert answers[0].json()["outputs"][0]["data"] == ["a"]
    check_failed(answers[1], 500, "found type '<class 'NoneType'>'")


def test_row_138_a_request_without_a_response_is_failed(server):
    check_failed(run(server, "[None]"), 500, "found type '<class 'NoneType'>'")
    check_that_it_works(server)


def test_row_139_an_output_that_is_not_declared_is_dropped(server):
    code = "[pb_utils.InferenceResponse([pb_utils.Tensor('OTHER', np.zeros(1, np.int32))])]"
    answer = run(server, code)
    assert (answer.status, answer.json()["outputs"]) == (200, [])


def test_row_140_a_model_without_execute_loads_and_tells_each_request(server):
    assert server.get("/v2/models/mute/ready").status == 200
    check_failed(run(server, "", model="mute"), 500, "does not implement `execute` method.")


def test_row_141_a_model_completes_its_configuration(server):
    assert server.load("completing").status == 200
    config = server.get("/v2/models/completing/config").json()
    assert config["max_batch_size"] == 4
    assert [(one["name"], one["dims"]) for one in config["input"]] == [("IN", [2])]
    tensor = {"name": "IN", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    answer = server.infer("completing", {"inputs": [tensor]})
    assert answer.json()["outputs"][0]["data"] == [1, 2]


def test_row_141_a_completion_that_contradicts_fails_the_load(server):
    words = (
        "ValueError: unable to load model 'contradicting', configuration expects datatype "
        "TYPE_INT32 for input 'IN', model provides TYPE_FP32"
    )
    check_failed(server.load("contradicting"), 400, words)
    assert server.get("/v2/models/contradicting/ready").status == 400


def test_row_146_finalize_is_called_for_an_instance_that_goes_and_at_an_unload(server, finalized):
    config = server.get("/v2/models/rows/config").json()
    config["instance_group"][0]["count"] = 1
    assert server.load("rows", config=json.dumps(config)).status == 200
    wait_until(lambda: len(list(finalized.iterdir())) == 1, what="the instance to be finalized")
    assert server.unload("rows").status == 200
    wait_until(lambda: len(list(finalized.iterdir())) == 2, what="the model to be finalized")
    assert server.load("rows").status == 200
    check_that_it_works(server)


def test_row_146_finalize_is_called_at_the_end_of_the_server(models, tmp_path):
    with Server.serve(
        models,
        log_path=tmp_path / "log",
        flags=EXPLICIT,
        environment={"FINALIZED": str(tmp_path)},
    ):
        assert not list(tmp_path.glob("rows_0_*"))
    assert {one.name for one in tmp_path.glob("rows_0_*")} == {"rows_0_0", "rows_0_1"}


def test_row_147_parameters_of_a_response_are_sent_on_both_wires(server):
    code = "[text('a', parameters={'number': 1, 'word': 'x', 'flag': True})]"
    wanted = {"number": 1, "word": "x", "flag": True}
    parameters = run(server, code).json()["parameters"]
    assert {name: parameters[name] for name in wanted} == wanted
    with triton_grpc.InferenceServerClient(server.grpc_address) as client:
        tensor = triton_grpc.InferInput("SCRIPT", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([code.encode()], np.object_))
        told = client.infer("rows", [tensor]).get_response().parameters
    assert told["number"].int64_param == 1
    assert told["word"].string_param == "x"
    assert told["flag"].bool_param is True
