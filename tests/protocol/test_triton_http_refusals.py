"""What Triton's HTTP protocol refuses, by the rows of the specification's checklist."""

import json
import struct

import pytest

from tests.protocol.http_inference import (
    TEXT,
    body,
    infer,
    infer_binary,
    refused,
    tensor,
)

NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim "
    "in your input dims config, try setting max_batch_size to zero. See the model configuration "
    "docs for more info on max_batch_size."
)


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
