"""Triton's repository over gRPC by the rows of the checklist, and methods that are not there."""

import json

import grpc
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, refusal

CODE = grpc.StatusCode
pytestmark = BOTH_TRANSPORTS
FOUR = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4]}


def test_the_index_has_the_rows_of_http(calls, triton):
    rows = [
        {"name": row.name, "version": row.version, "state": row.state}
        for row in calls("RepositoryIndex").models
    ]
    assert rows == triton.index()


@pytest.mark.parametrize(
    "method", ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"]
)
def test_120_repositories_have_no_names(calls, method):
    assert refusal(calls, method, repository_name="r") == (
        CODE.UNIMPLEMENTED,
        "'repository_name' specification is not supported",
    )


def test_a_model_is_unloaded_and_loaded(calls):
    calls("RepositoryModelUnload", model_name="pair")
    assert not calls("ModelReady", name="pair").ready
    calls("RepositoryModelLoad", model_name="pair")
    assert calls("ModelReady", name="pair").ready


def test_46_unloading_what_is_not_there_succeeds(calls):
    calls("RepositoryModelUnload", model_name="nobody")


@pytest.mark.parametrize(
    ("method", "fields", "code", "text"),
    [
        pytest.param(
            "RepositoryModelLoad",
            {"model_name": "nobody"},
            CODE.INTERNAL,
            "failed to load 'nobody', failed to poll from model repository",
            id="45",
        ),
        pytest.param(
            "RepositoryModelLoad",
            {"model_name": "m", "parameters": {"foo": {"string_param": "x"}}},
            CODE.INVALID_ARGUMENT,
            "unrecognized load parameter 'foo'.",
            id="60",
        ),
        pytest.param(
            "RepositoryModelLoad",
            {"model_name": "m", "parameters": {"config": {"bytes_param": b"x"}}},
            CODE.INVALID_ARGUMENT,
            "invalid value type for load parameter 'config', expected string_param.",
            id="config-bytes",
        ),
        pytest.param(
            "RepositoryModelLoad",
            {"model_name": "m", "parameters": {"file:1/model.py": {"string_param": "x"}}},
            CODE.INVALID_ARGUMENT,
            "invalid value type for load parameter 'file:1/model.py', expected bytes_param.",
            id="file-string",
        ),
        pytest.param(
            "RepositoryModelLoad",
            {"model_name": "  "},
            CODE.INVALID_ARGUMENT,
            "Model name cannot be empty. Please enter a valid name to deploy.",
            id="65",
        ),
        *(
            pytest.param(
                "RepositoryModelLoad",
                {"model_name": name},
                CODE.INVALID_ARGUMENT,
                f"invalid model name '{name}', model name must not contain path traversal "
                "characters",
                id=f"65 {name}",
            )
            for name in ("a/b", "..", "../m")
        ),
        pytest.param(
            "RepositoryModelUnload",
            {"model_name": "m", "parameters": {"unload_dependents": {"string_param": "x"}}},
            CODE.INVALID_ARGUMENT,
            "invalid value type for 'unload_dependents' parameter, expected bool_param.",
            id="68",
        ),
    ],
)
def test_bad_repository_calls_are_told(calls, method, fields, code, text):
    assert refusal(calls, method, **fields) == (code, text)


def test_a_load_may_bring_its_configuration_and_files(calls, triton):
    config = triton.get("/v2/models/m/config").json()
    config["max_batch_size"] = 2
    source = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
    calls(
        "RepositoryModelLoad",
        model_name="brought",
        parameters={
            "config": {"string_param": json.dumps({**config, "name": "brought"})},
            "file:1/model.py": {"bytes_param": source},
        },
    )
    assert calls("ModelConfig", name="brought").config.max_batch_size == 2
    calls("RepositoryModelUnload", model_name="brought")


@pytest.mark.parametrize("kind", ["System", "Cuda"])
def test_105_client_shared_memory_is_disabled(calls, kind):
    text = (
        "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to "
        "enable."
    )
    for method in ("Register", "Unregister"):
        assert refusal(calls, f"{kind}SharedMemory{method}", name="r") == (CODE.UNIMPLEMENTED, text)
    assert not calls(f"{kind}SharedMemoryStatus").regions
    size = {"int64_param": 16}
    region = {"shared_memory_region": {"string_param": "r"}, "shared_memory_byte_size": size}
    request = calls.infer_request("m", {**FOUR, "parameters": region})
    assert refusal(calls, "ModelInfer", request) == (CODE.UNIMPLEMENTED, text)


def test_a_method_that_does_not_exist(calls):
    path = "/inference.GRPCInferenceService/Nothing"
    code, _ = refusal(calls.raw, path, b"", "inference.ModelInferResponse")
    assert code is CODE.UNIMPLEMENTED
