"""Triton's HTTP protocol, by the rows of the specification's checklist."""

import json
import struct

import numpy as np
import pytest

from tests.fixtures.server import Answer, Server

EXTENSIONS = [
    "classification", "sequence", "model_repository", "model_repository(unload_dependents)",
    "schedule_policy", "model_configuration", "system_shared_memory", "cuda_shared_memory",
    "binary_tensor_data", "parameters", "statistics", "trace", "logging",
]  # fmt: skip
NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim "
    "in your input dims config, try setting max_batch_size to zero. See the model configuration "
    "docs for more info on max_batch_size."
)
JSON, TEXT, OCTETS = "application/json", "text/plain", "application/octet-stream"


def tensor(**changes: object) -> dict:
    whole = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **changes}
    return {key: value for key, value in whole.items() if value is not None}


def body(*inputs: dict, **members: object) -> dict:
    return {"inputs": list(inputs) or [tensor()], **members}


def infer(server: Server, content: object, path: str = "m", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    return server.request("POST", f"/v2/models/{path}/infer", sent, names)


def binary(content: dict, *blobs: bytes) -> tuple[bytes, str]:
    head = json.dumps(content).encode()
    return head + b"".join(blobs), str(len(head))


def infer_binary(server: Server, content: dict, *blobs: bytes, path: str = "m") -> Answer:
    sent, length = binary(content, *blobs)
    return infer(server, sent, path, Inference_Header_Content_Length=length)


def split(answer: Answer) -> tuple[dict, bytes]:
    length = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.body[:length]), answer.body[length:]


def refused(answer: Answer, status: int, text: str, content_type: str = JSON) -> None:
    assert (answer.status, answer.json()) == (status, {"error": text})
    assert answer.headers["content-type"] == content_type


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


# --- inference: refusals ------------------------------------------------------------------------


@pytest.mark.parametrize("data", [[1, 2, 3], [1, 2, 3, 4, 5], []])
def test_row_92_a_wrong_number_of_elements_is_500(triton, data):
    text = "Unable to parse 'data': Shape does not match true shape of 'data' field"
    refused(infer(triton, body(tensor(data=data))), 500, text)


R = "[request id: <id_unknown>] "
WRONG_SHAPE = "unexpected shape for input 'INPUT0' for model 'm'. Expected [-1,4], got"
ONE_INPUT = (
    "expected 1 inputs but got {got} inputs for model 'm'. Got input(s) {names}, but missing "
    "required input(s) {missing}. Please provide all required input(s)."
)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([tensor(shape=[1, 3], data=[1, 2, 3])],
         f"{R}{WRONG_SHAPE} [1,3]. {NOTE}"),
        ([tensor(shape=[4])],
         f"{R}{WRONG_SHAPE} [4]. {NOTE}"),
        ([tensor(shape=[9, 4], data=[0] * 36)],
         f"{R}inference request batch-size must be <= 8 for 'm'"),
        ([tensor(shape=[], data=[1])],
         f"{R}input 'INPUT0' has no shape but model requires batch dimension for 'm'"),
        ([tensor(datatype="INT32")],
         f"{R}inference input 'INPUT0' data-type is 'INT32', but model 'm' expects 'FP32'"),
        ([tensor(datatype="FOO")], "invalid datatype for input INPUT0"),
        ([tensor(datatype="FP16")],
         "receiving FP16 data via JSON is not supported. Please use the binary data format for "
         "input INPUT0"),
        ([tensor(name="X")], "unexpected inference input 'X' for model 'm'"),
        ([tensor(), tensor()], f"{R}input 'INPUT0' already exists in request"),
        ([tensor(), tensor(name="X")],
         R + ONE_INPUT.format(got=2, names="['INPUT0','X']", missing="[]")),
        ([tensor(data=None)],
         "Input must set only one of the following fields: 'data', 'binary_data_size' in "
         "'parameters', 'shared_memory_region' in 'parameters'. But no field is set"),
        ([tensor(parameters={"binary_data_size": 4})],
         "Input must set only one of the following fields: 'data', 'binary_data_size' in "
         "'parameters', 'shared_memory_region' in 'parameters'. But set 'data' 'binary_data_size'"),
        ([tensor(shape=[2**40, 2**40])],
         "invalid shape for input 'INPUT0': shape [1099511627776,1099511627776] causes total "
         "element count to exceed maximum size of 9223372036854775807"),
        ([tensor(shape=[2**62])],
         "byte size overflow for input 'INPUT0': element count (4611686018427387904) * data type "
         "size (4) exceeds maximum allowed size (9223372036854775807)"),
        ([tensor(shape=[1, 2**30])],
         "JSON input 'INPUT0' has a byte_size (4294967296 bytes) that exceeds the maximum allowed "
         "value of 67108864 bytes. Use --http-max-input-size to increase the limit."),
    ],
)  # fmt: skip
def test_rows_93_to_95_what_does_not_fit_is_400(triton, inputs, text):
    refused(infer(triton, body(*inputs)), 400, text)


def test_row_95_no_input_is_told_with_what_is_missing(triton):
    text = R + ONE_INPUT.format(got=0, names="[]", missing="['INPUT0']")
    refused(infer(triton, {"inputs": []}), 400, text)


def test_the_request_id_is_in_the_message(triton):
    answer = infer(triton, body(tensor(shape=[9, 4], data=[0] * 36), id="abc"))
    text = "[request id: abc] inference request batch-size must be <= 8 for 'm'"
    refused(answer, 400, text)


def test_inputs_with_different_batches_are_400(triton):
    def part(name: str, shape: list[int]) -> dict:
        return {"name": name, "shape": shape, "datatype": "INT32", "data": [1, 2]}

    answer = infer(triton, {"inputs": [part("INA", [1, 2]), part("INB", [2])]}, "pair")
    text = f"{R}unexpected shape for input 'INB' for model 'pair'. Expected [-1,-1], got [2]. "
    refused(answer, 400, text)


def test_row_95_an_unknown_output_is_told_without_the_id(triton):
    answer = infer(triton, body(outputs=[{"name": "X"}], id="a"))
    refused(answer, 400, "unexpected inference output 'X' for model 'm'")


NOT_UNSIGNED = "attempt to access JSON non-unsigned-integer as unsigned-integer"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
        ({"inputs": 1}, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
        (body(tensor(name=None)),
         "Unable to parse 'name': attempt to access non-existing object member 'name'"),
        (body(tensor(datatype=None)),
         "Unable to parse 'datatype': attempt to access non-existing object member 'datatype'"),
        (body(tensor(shape=None)),
         "Unable to parse 'shape': attempt to access non-existing object member 'shape'"),
        (body(tensor(shape=[1, -4])), f"Unable to parse 'shape': {NOT_UNSIGNED}"),
        (body(tensor(shape=[1, 4.0])), f"Unable to parse 'shape': {NOT_UNSIGNED}"),
        (body(tensor(data=[1, "x", 3, 4])),
         "Unable to parse 'data': attempt to access JSON non-number as double"),
        (body(tensor(data=[1, True, 3, 4])),
         "Unable to parse 'data': attempt to access JSON non-number as double"),
        (body(tensor(data=5)), "Unable to parse 'data': attempt to access JSON non-array as array"),
        (body(tensor(data=[1, None, 3, 4])),
         "Unable to parse 'data': attempt to access JSON non-number as double"),
        (body(id=5), "Unable to parse 'id': attempt to access JSON non-string as string"),
        (body(parameters={"sequence_id": -1}),
         "Unable to parse 'sequence_id': attempt to access JSON non-string as string"),
        (body(parameters={"sequence_start": 1}),
         "Unable to parse 'sequence_start': attempt to access JSON non-boolean as boolean"),
        (body(parameters={"priority": "x"}), f"Unable to parse 'priority': {NOT_UNSIGNED}"),
        (body(parameters={"timeout": -1}), f"Unable to parse 'timeout': {NOT_UNSIGNED}"),
    ],
)  # fmt: skip
def test_members_of_the_wrong_type_are_500(triton, content, text):
    refused(infer(triton, content), 500, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"xx", "Invalid value. at 0"),
        (b" ", "The document is empty. at 1"),
        (b"{", "Missing a name for object member. at 1"),
        (b'{"inputs"', "Missing a colon after a name of object member. at 9"),
        (b'{"a":1', "Missing a comma or } after an object member. at 6"),
        (b"[1 2]", "Missing a comma or ] after an array element. at 3"),
        (b'{"a":"\\x"}', "Invalid escape character in string. at 6"),
        (b'{"a":"', "Missing a closing quotation mark in string. at 6"),
        (b'{"a":"\x01"}', "Invalid encoding in string. at 6"),
        (b'{"a":"\xff"}', "Invalid encoding in string. at 6"),
        (b'{"a":"\\ud800"}', "The surrogate pair in string is invalid. at 6"),
        (b"{} {}", "The document root must not be followed by other values. at 3"),
        (b'{"a":1e999}', "Number too big to be stored in double. at 5"),
        (b'{"a":1,"a":2}', "The member 'a' is given twice. at 7"),
    ],
)
def test_row_96_broken_json_is_500_with_its_offset(triton, text, reason):
    refused(infer(triton, text), 500, f"failed to parse the request JSON buffer: {reason}")


def test_row_96_an_empty_body_is_a_raw_request(triton):
    text = f"{R}input byte size mismatch for input 'raw_input' for model 'm'. Expected 16, got 0"
    refused(infer(triton, b""), 400, text)


@pytest.mark.parametrize("depth", [101, 1500, 50_000])
def test_deep_nesting_is_400(triton, depth):
    nested = b"[" * depth + b"1" + b"]" * depth
    sent = b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,1],"data":' + nested + b"}]}"
    text = "JSON nesting depth exceeds maximum allowed limit (100)"
    refused(infer(triton, sent), 400, text)


def test_row_98_too_little_and_too_much_binary_data_are_400(triton):
    def request(size: int) -> dict:
        return body(tensor(data=None, parameters={"binary_data_size": size}))

    blob = b"\0" * 16
    text = "unexpected size for input 'INPUT0', expecting 4 additional bytes for model 'm'"
    refused(infer_binary(triton, request(20), blob), 400, text)
    text = "unexpected additional input data for model 'm'"
    refused(infer_binary(triton, request(12), blob), 400, text)
    text = f"{R}input byte size mismatch for input 'INPUT0' for model 'm'. Expected 16, got 12"
    refused(infer_binary(triton, request(12), blob[:12]), 400, text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        ("9999", "inference header size should be in range (0, {size}), got: 9999"),
        ("-1", "inference header size should be in range (0, {size}), got: -1"),
        ("x", "Unable to parse Inference-Header-Content-Length, got: x"),
        ("3000000000",
         "Unable to parse Inference-Header-Content-Length, value is out of range "
         "[ -2147483648, 2147483647 ], got: 3000000000"),
        ("9" * 5000,
         "Unable to parse Inference-Header-Content-Length, value is out of range "
         "[ -2147483648, 2147483647 ], got: " + "9" * 5000),
    ],
)  # fmt: skip
def test_row_99_a_wrong_header_length_is_400(triton, length, text):
    sent = json.dumps(body()).encode()
    answer = infer(triton, sent, Inference_Header_Content_Length=length)
    refused(answer, 400, text.format(size=len(sent)), TEXT)


def test_raw_requests_that_can_not_be_deduced_are_400(triton):
    raw = {"Inference_Header_Content_Length": "0"}
    text = (
        f"{R}Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'pair' "
        f"model configuration"
    )
    refused(infer(triton, b"1234", "pair", **raw), 400, text)


def test_row_103_reserved_and_mistyped_parameters_are_400(triton):
    text = (
        "parameter keys starting with 'triton_' are reserved for Triton usage and should not be "
        "specified."
    )
    refused(infer(triton, body(parameters={"triton_x": 1})), 400, text)
    text = "parameter 'x' has invalid type. It should be either 'int', 'bool', or 'string'."
    refused(infer(triton, body(parameters={"x": {}})), 400, text)


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        (["a", "b"], "unexpected number of string elements 2 for inference input 'IN' for model "
         "'text', expecting 1"),
        ([], "expected 1 string elements for inference input 'IN' for model 'text', got 0"),
    ],
)  # fmt: skip
def test_a_wrong_number_of_strings_is_400(triton, elements, text):
    request = body(tensor(name="IN", datatype="BYTES", shape=[1], data=elements))
    refused(infer(triton, request, "text"), 400, R + text)


@pytest.mark.parametrize(
    ("blob", "text"),
    [
        (b"\x01\0", "incomplete string length indicator for inference input 'IN' for model 'text', "
         "expecting 4 bytes but only 2 bytes available. Please make sure the string length "
         "indicator is in one buffer."),
        (b"\x05\0\0\0ab", "incomplete string data for inference input 'IN' for model 'text', "
         "expecting string of length 5 but only 2 bytes available. Please make sure the string is "
         "in one buffer."),
    ],
)  # fmt: skip
def test_broken_binary_strings_are_400(triton, blob, text):
    size = {"binary_data_size": len(blob)}
    request = body(tensor(name="IN", datatype="BYTES", shape=[1], data=None, parameters=size))
    refused(infer_binary(triton, request, blob, path="text"), 400, R + text)


def test_unknown_models_and_versions_are_404_as_text(triton):
    text = "Request for unknown model: 'nope' is not found"
    refused(infer(triton, body(), "nope"), 404, text, TEXT)
    text = "Request for unknown model: 'm' version 3 is not found"
    refused(infer(triton, body(), "m/versions/3"), 404, text, TEXT)


def test_the_model_is_looked_up_before_the_body_is_read(triton):
    text = "Request for unknown model: 'nope' is not found"
    refused(infer(triton, b"xx", "nope", Content_Encoding="br"), 404, text, TEXT)


def test_half_precision_can_not_be_sent_as_json(triton):
    blob = struct.pack("<ee", 1, 2)
    size = {"binary_data_size": len(blob)}
    request = body(tensor(name="IN_FP16", datatype="FP16", shape=[2], data=None, parameters=size))
    request["outputs"] = [{"name": "OUT_FP16"}]
    answer = infer_binary(triton, request, blob, path="all_types")
    assert answer.status == 400
    assert answer.json()["error"].startswith(
        "sending FP16 data via JSON is not supported. Please use the binary data format for output"
    )


def test_what_the_model_raises_is_told(triton):
    request = body(tensor(name="IN", shape=[1], data=[1]))
    answer = infer(triton, request, "raising")
    assert answer.status == 500
    assert "this model never works" in answer.json()["error"]
    assert "Traceback" not in answer.json()["error"]
