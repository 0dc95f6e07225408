"""Triton's HTTP protocol, by the rows of the specification's checklist."""

import json

import numpy as np
import pytest

from tests.protocol.http_inference import (
    JSON,
    OCTETS,
    TEXT,
    body,
    infer,
    infer_binary,
    refused,
    split,
    tensor,
)

EXTENSIONS = [
    "classification", "sequence", "model_repository", "model_repository(unload_dependents)",
    "schedule_policy", "model_configuration", "system_shared_memory", "cuda_shared_memory",
    "binary_tensor_data", "parameters", "statistics", "trace", "logging",
]  # fmt: skip


# --- health and metadata ------------------------------------------------------------------------


def test_row_84_server_metadata_has_the_exact_extensions(triton):
    answer = triton.get("/v2")
    assert answer.json()["extensions"] == EXTENSIONS
    assert list(answer.json()) == ["name", "version", "extensions"]


@pytest.mark.parametrize(
    "path",
    [
        *("/v2/", "/", "/nope", "/v3", "/metrics", "/v2/models", "/v2/models/m/"),
        *("/v2/models/stats/", "/v2/models/m/stats/", "/v2/models/m/versions/x/infer"),
    ],
)
def test_row_84_an_unknown_path_is_404(triton, path):
    refused(triton.get(path), 404, "Not Found", TEXT)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [("PUT", "/v2", JSON), ("POST", "/v2/health/live", TEXT), ("GET", "/v2/models/m/infer", TEXT),
     ("DELETE", "/v2/models/m", JSON), ("GET", "/v2/repository/index", JSON),
     ("PATCH", "/v2/models/m/ready", TEXT), ("GET", "/v2/repository/models/m/load", JSON),
     ("DELETE", "/v2/logging", JSON), ("GET", "/v2/models/m/generate", JSON)],
)  # fmt: skip
def test_row_84_a_wrong_method_is_405(triton, method, path, kind):
    refused(triton.request(method, path), 405, "Method Not Allowed", kind)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"])
def test_row_85_health_is_empty_text(triton, path):
    answer = triton.get(path)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", TEXT)


@pytest.mark.parametrize("path", ["/v2/health/live?x=1", "/v2/models/m/ready?a=b", "/v2?q"])
def test_a_query_is_ignored(triton, path):
    assert triton.get(path).status == 200


def test_no_date_and_no_server_header_is_sent(triton):
    headers = triton.get("/v2/models/m").headers
    assert not {"date", "server"} & set(headers)


@pytest.mark.parametrize("path", ["m", "m/versions/1", "m/versions/001"])
def test_row_86_model_metadata_is_exact(triton, path):
    answer = triton.get(f"/v2/models/{path}")
    assert answer.body == (
        b'{"name":"m","versions":["1"],"platform":"python",'
        b'"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[-1,4]}],'
        b'"outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":[-1,4]}]}'
    )


def test_row_86_model_config_prints_defaults(triton):
    config = triton.get("/v2/models/m/config").json()
    assert config["input"] == [
        {
            "name": "INPUT0", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [4],
            "is_shape_tensor": False, "allow_ragged_batch": False, "optional": False,
            "is_non_linear_format_io": False,
        }
    ]  # fmt: skip
    assert config["version_policy"] == {"latest": {"num_versions": 1}}
    assert config["default_model_filename"] == "model.py"


@pytest.mark.parametrize("path", ["", "/config"])
def test_row_87_an_unknown_version_is_404(triton, path):
    text = "Request for unknown model: 'm' version 2 is not found"
    refused(triton.get(f"/v2/models/m/versions/2{path}"), 404, text)


@pytest.mark.parametrize("path", ["/ready", "", "/config"])
def test_row_88_a_version_that_is_too_large_is_400(triton, path):
    version = "99999999999999999999"
    answer = triton.get(f"/v2/models/m/versions/{version}{path}")
    assert answer.status == 400
    assert answer.json()["error"] == (
        f"failed to get model version from specified version string '{version}' (details: stol), "
        f"version should be an integral value > 0"
    )


@pytest.mark.parametrize("path", ["nope", "m/versions/7", "no%20pe"])
def test_row_89_ready_of_what_is_not_is_400(triton, path):
    refused(triton.get(f"/v2/models/{path}/ready"), 400, "Model version not ready", TEXT)


# --- inference: answers -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["m", "m/versions/1"])
def test_row_90_floats_are_printed_as_shortest_doubles_in_key_order(triton, path):
    answer = infer(triton, body(tensor(data=[0.1, 1, -2.5, 1e-7]), id="7"), path)
    assert answer.body == (
        b'{"id":"7","model_name":"m","model_version":"1","outputs":[{"name":"OUTPUT0",'
        b'"datatype":"FP32","shape":[1,4],"data":[0.10000000149011612,1.0,-2.5,'
        b"1.0000000116860974e-7]}]}"
    )
    assert answer.headers["content-type"] == JSON


def test_row_91_nested_data_is_as_flat_data(triton):
    flat = infer(triton, body(tensor(shape=[2, 4], data=list(range(8)))))
    nested = infer(triton, body(tensor(shape=[2, 4], data=[[0, 1, 2, 3], [[4, 5], [6, 7]]])))
    assert flat.status == 200
    assert flat.body == nested.body


@pytest.mark.parametrize(
    ("word", "values"),
    [("BOOL", [True, False]), ("UINT8", [0, 255]), ("UINT16", [0, 65535]),
     ("UINT32", [0, 2**32 - 1]), ("UINT64", [0, 2**64 - 1]), ("INT8", [-128, 127]),
     ("INT16", [-32768, 32767]), ("INT32", [-(2**31), 2**31 - 1]),
     ("INT64", [-(2**63), 2**63 - 1]), ("FP32", [0.5, -1.0]), ("FP64", [0.1, 1e300]),
     ("BYTES", ["", "grüße \u2603", "a\"b\\"])],
)  # fmt: skip
def test_each_datatype_survives_json(triton, word, values):
    name = "STRING" if word == "BYTES" else word
    request = body(tensor(name=f"IN_{name}", datatype=word, shape=[len(values)], data=values))
    request["outputs"] = [{"name": f"OUT_{name}"}]
    (output,) = infer(triton, request, "all_types").json()["outputs"]
    assert output == {
        "name": f"OUT_{name}", "datatype": word, "shape": [len(values)], "data": values
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "blob"),
    [("FP16", np.array([0.5, -2], "<f2").tobytes()), ("BF16", b"\x80\x3f\x00\x40"),
     ("FP64", np.array([1, 2], "<f8").tobytes()), ("BOOL", b"\x01\x00"),
     ("BYTES", b"\x02\0\0\0\xff\xfe\0\0\0\0")],
)  # fmt: skip
def test_each_datatype_survives_binary(triton, word, blob):
    name = "STRING" if word == "BYTES" else word
    size = {"binary_data_size": len(blob)}
    request = body(tensor(name=f"IN_{name}", datatype=word, shape=[2], data=None, parameters=size))
    request["outputs"] = [{"name": f"OUT_{name}", "parameters": {"binary_data": True}}]
    head, tail = split(infer_binary(triton, request, blob, path="all_types"))
    assert tail == blob
    assert head["outputs"][0]["parameters"] == size


@pytest.mark.parametrize(
    ("word", "sent", "got"),
    [("UINT8", [256, 511], [0, 255]), ("INT8", [128, -129], [-128, 127]),
     ("INT32", [2**31], [-(2**31)])],
)  # fmt: skip
def test_integers_are_cut_to_the_width_silently(triton, word, sent, got):
    request = body(tensor(name=f"IN_{word}", datatype=word, shape=[len(sent)], data=sent))
    request["outputs"] = [{"name": f"OUT_{word}"}]
    assert infer(triton, request, "all_types").json()["outputs"][0]["data"] == got


def test_nan_and_infinities_are_bare_words_both_ways(triton):
    sent = json.dumps(body(tensor(data=[float("nan"), float("inf"), float("-inf"), 0])))
    assert b'"data":[NaN,Infinity,-Infinity,0.0]' in infer(triton, sent.encode()).body


def test_row_97_binary_output_follows_the_json(triton):
    request = body(outputs=[{"name": "OUTPUT0", "parameters": {"binary_data": True}}])
    answer = infer(triton, request)
    head, tail = split(answer)
    assert answer.headers["content-type"] == OCTETS
    assert head["outputs"] == [
        {"name": "OUTPUT0", "datatype": "FP32", "shape": [1, 4],
         "parameters": {"binary_data_size": 16}}
    ]  # fmt: skip
    assert tail == np.array([1, 2, 3, 4], "<f4").tobytes()


def test_binary_data_output_is_for_all_that_is_not_listed(triton):
    request = body(parameters={"binary_data_output": True})
    assert split(infer(triton, request))[1] == np.array([1, 2, 3, 4], "<f4").tobytes()
    request["outputs"] = [{"name": "OUTPUT0"}]
    assert infer(triton, request).json()["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


def test_row_102_classification_gives_the_best_classes_with_labels(triton):
    request = body(outputs=[{"name": "OUTPUT0", "parameters": {"classification": 2}}])
    (output,) = infer(triton, request).json()["outputs"]
    assert output == {
        "name": "OUTPUT0", "datatype": "BYTES", "shape": [1, 2],
        "data": ["4.000000:3:three", "3.000000:2:two"],
    }  # fmt: skip


def test_an_output_listed_twice_is_answered_once(triton):
    answer = infer(triton, body(outputs=[{"name": "OUTPUT0"}, {"name": "OUTPUT0"}]))
    assert len(answer.json()["outputs"]) == 1


@pytest.mark.parametrize("sequence_id", [42, "abc"])
def test_id_parameters_and_sequence_reach_the_model(triton, sequence_id):
    request = {
        "id": "r1",
        "parameters": {
            "sequence_id": sequence_id, "sequence_start": True, "sequence_end": True,
            "priority": 2, "timeout": 5_000_000, "n": 1, "s": "x", "b": True,
        },
        "inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "data": [1]}],
    }  # fmt: skip
    (text,) = infer(triton, request, "teller").json()["outputs"][0]["data"]
    told = json.loads(text)
    assert told["id"] == "r1"
    assert told["correlation_id"] == sequence_id
    assert told["flags"] == 3
    assert told["parameters"] == {"n": 1, "s": "x", "b": True}


def test_row_100_a_raw_request_is_answered_in_binary(triton):
    blob = np.array([1, 2, 3, 4], "<f4").tobytes()
    answer = infer(triton, blob, Inference_Header_Content_Length="0")
    head, tail = split(answer)
    assert tail == blob
    assert head["outputs"][0]["shape"] == [1, 4]


def test_a_raw_request_to_a_text_model_is_its_one_element(triton):
    answer = infer(triton, b"hello", "text", Inference_Header_Content_Length="0")
    assert split(answer)[1] == b"\x05\0\0\0hello"
