"""Triton's gRPC protocol by the rows of the checklist, with stubs of our own schema."""

import struct

import grpc
import pytest

from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, refusal
from tests.fixtures.pace import within
from tests.fixtures.reflection import Reflection

CODE = grpc.StatusCode
pytestmark = BOTH_TRANSPORTS
FOUR = struct.pack("<4f", 0.0, 1.0, 2.0, 3.0)


def four(**fields):
    return {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], **fields}


def test_health_and_metadata(calls):
    assert calls("ServerLive").live
    assert calls("ServerReady").ready
    metadata = calls("ServerMetadata")
    assert metadata.name == "triton"
    assert metadata.extensions[0] == "classification"
    model = calls("ModelMetadata", name="m")
    assert (model.name, list(model.versions), model.platform) == ("m", ["1"], "python")
    assert list(model.inputs[0].shape) == [-1, 4]
    config = calls("ModelConfig", name="m").config
    assert (config.name, config.max_batch_size, config.backend) == ("m", 8, "python")
    assert config.output[0].label_filename == "labels.txt"


def test_115_readiness_of_models(calls):
    assert calls("ModelReady", name="m").ready
    assert calls("ModelReady", name="m", version="1").ready
    assert not calls("ModelReady", name="nobody").ready
    assert not calls("ModelReady", name="m", version="9").ready
    assert refusal(calls, "ModelReady", name="m", version="x") == (
        CODE.INVALID_ARGUMENT,
        "failed to get model version from specified version string 'x' (details: stol), version "
        "should be an integral value > 0",
    )
    assert refusal(calls, "ModelReady", name="m", version="-1") == (
        CODE.INVALID_ARGUMENT,
        "invalid model version specified '-1' , version should be an integral value > 0",
    )


def test_116_health_checks_take_any_service_and_can_not_be_watched(calls):
    path = "/grpc.health.v1.Health/"
    check = calls.channel.unary_unary(path + "Check")
    assert check(b"\x0a\x03any", timeout=within(10)) == b"\x08\x01"
    watch = calls.channel.unary_stream(path + "Watch")
    with pytest.raises(grpc.RpcError) as caught:
        next(iter(watch(b"", timeout=within(10))))
    assert caught.value.code() is CODE.UNIMPLEMENTED


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_reflection_tells_the_services_and_all_files_of_their_messages(calls, package):
    ask = Reflection(calls.channel, package)
    (services,) = ask([{"list_services": ""}])
    assert [one.name for one in services.list_services_response.service] == [
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    for one in services.list_services_response.service:
        pool = ask.pool_of(one.name)
        assert pool.FindServiceByName(one.name).methods


def test_raw_and_typed_inputs_have_raw_outputs(calls):
    typed = four(contents={"fp32_contents": [0.0, 1.0, 2.0, 3.0]})
    for request in (
        calls.infer_request("m", four(), raw=(FOUR,), id="7"),
        calls.infer_request("m", typed, id="7"),
    ):
        answer = calls("ModelInfer", request)
        assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "7")
        (output,) = answer.outputs
        assert (output.name, output.datatype, list(output.shape)) == ("OUTPUT0", "FP32", [1, 4])
        assert not output.HasField("contents")
        assert list(answer.raw_output_contents) == [FOUR]


@pytest.mark.parametrize(
    ("tensor", "raw", "text"),
    [
        pytest.param(
            four(contents={"fp32_contents": [0.0] * 4}),
            (FOUR,),
            "contents field must not be specified when using raw_input_contents for 'INPUT0' for "
            "model 'm'",
            id="117-both",
        ),
        pytest.param(
            four(contents={"int_contents": [0] * 4}),
            (),
            "unexpected explicit tensor data for input tensor 'INPUT0' for model 'm' of type "
            "'INT32', expected datatype 'FP32'",
            id="117-wrong-field",
        ),
        pytest.param(
            four(),
            (),
            "unable to find data for input tensor 'INPUT0' for model 'm' in request.",
            id="117-neither",
        ),
        pytest.param(
            four(),
            (FOUR[:8],),
            "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model "
            "'m'. Expected 16, got 8",
            id="too-few-bytes",
        ),
        pytest.param(
            four(shape=[-1, 4]),
            (FOUR,),
            "invalid shape for input 'INPUT0': shape [-1,4] contains one or more invalid "
            "dimensions",
            id="negative-dimension",
        ),
        pytest.param(
            four(datatype="INT32"),
            (FOUR,),
            "[request id: <id_unknown>] inference input 'INPUT0' data-type is 'INT32', but model "
            "'m' expects 'FP32'",
            id="wrong-datatype",
        ),
        pytest.param(
            four(datatype="X"),
            (FOUR,),
            "[request id: <id_unknown>] inference input 'INPUT0' data-type is '<invalid>', but "
            "model 'm' expects 'FP32'",
            id="no-word",
        ),
    ],
)
def test_bad_inputs_are_told(calls, tensor, raw, text):
    request = calls.infer_request("m", tensor, raw=raw)
    assert refusal(calls, "ModelInfer", request) == (CODE.INVALID_ARGUMENT, text)


def test_117_raw_entries_that_nobody_takes_are_ignored(calls):
    request = calls.infer_request("m", four(), raw=(FOUR, b"more"))
    assert list(calls("ModelInfer", request).raw_output_contents) == [FOUR]


@pytest.mark.parametrize(
    ("name", "choice", "text"),
    [
        (
            "sequence_id",
            {"bool_param": True},
            "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
        ),
        (
            "sequence_start",
            {"int64_param": 1},
            "invalid value type for 'sequence_start' parameter, expected bool_param.",
        ),
        ("priority", {"int64_param": -1}, "invalid value for 'priority', expected value >= 0."),
        (
            "priority",
            {"string_param": "1"},
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param.",
        ),
        (
            "timeout",
            {"string_param": "1"},
            "invalid value type for 'timeout' parameter, expected int64_param.",
        ),
        (
            "triton_other",
            {"bool_param": True},
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the "
            "following keys starting with 'triton_' are allowed: "
            "triton_enable_empty_final_response",
        ),
        (
            "mine",
            {},
            "invalid value type for 'mine' parameter, expected int64_param, bool_param, or "
            "string_param.",
        ),
    ],
)
def test_bad_parameters_are_told(calls, name, choice, text):
    request = calls.infer_request("m", four(), raw=(FOUR,), parameters={name: choice})
    assert refusal(calls, "ModelInfer", request) == (CODE.INVALID_ARGUMENT, text)


def test_parameters_and_sequences_reach_the_model(calls):
    request = calls.infer_request(
        "teller",
        {"name": "IN", "datatype": "FP32", "shape": [1]},
        raw=(FOUR[:4],),
        id="r1",
        parameters={
            "sequence_id": {"int64_param": 42},
            "sequence_start": {"bool_param": True},
            "word": {"string_param": "w"},
            "number": {"int64_param": 5},
            "half": {"double_param": 0.5},
            "big": {"uint64_param": (1 << 64) - 1},
            "yes": {"bool_param": True},
        },
    )
    told = calls("ModelInfer", request).raw_output_contents[0][4:].decode()
    assert '"id": "r1"' in told
    assert '"correlation_id": 42' in told
    assert '"flags": 1' in told
    for member in ('"word": "w"', '"number": 5', '"half": 0.5', f'"big": {(1 << 64) - 1}'):
        assert member in told
    assert '"yes": true' in told


def test_102_classes_have_labels(calls):
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": {"int64_param": 2}}}]
    answer = calls("ModelInfer", calls.infer_request("m", four(), raw=(FOUR,), outputs=outputs))
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [1, 2])
    first, second = b"3.000000:3:three", b"2.000000:2:two"
    expected = struct.pack("<I", len(first)) + first + struct.pack("<I", len(second)) + second
    assert answer.raw_output_contents[0] == expected


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (
            {"string_param": "2"},
            "invalid value type for 'classification' parameter, expected int64_param",
        ),
        ({"int64_param": 0}, "invalid value for 'classification' parameter, expected >= 0"),
    ],
)
def test_bad_classifications_are_told(calls, choice, text):
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": choice}}]
    request = calls.infer_request("m", four(), raw=(FOUR,), outputs=outputs)
    assert refusal(calls, "ModelInfer", request) == (CODE.INVALID_ARGUMENT, text)


@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        ("nobody", "", CODE.NOT_FOUND, "Request for unknown model: 'nobody' is not found"),
        ("m", "9", CODE.NOT_FOUND, "Request for unknown model: 'm' version 9 is not found"),
    ],
)
def test_unknown_models_and_versions(calls, model, version, code, text):
    request = calls.infer_request(model, four(), raw=(FOUR,), model_version=version)
    assert refusal(calls, "ModelInfer", request) == (code, text)


def test_an_error_of_the_model_has_its_text(calls):
    request = calls.infer_request(
        "raising", {"name": "IN", "datatype": "FP32", "shape": [1]}, raw=(FOUR[:4],)
    )
    code, text = refusal(calls, "ModelInfer", request)
    assert code is not CODE.UNKNOWN
    assert text


def test_bytes_that_are_no_message_are_refused(calls):
    path = "/inference.GRPCInferenceService/ModelInfer"
    code, text = refusal(calls.raw, path, b"\xff\xff\xff", "inference.ModelInferResponse")
    assert code is CODE.INTERNAL
    assert text == "Unable to parse request"


TYPES = {
    "BOOL": ("bool_contents", [True, False], b"\x01\x00"),
    "UINT8": ("uint_contents", [1, 255], b"\x01\xff"),
    "UINT16": ("uint_contents", [1, 65535], struct.pack("<2H", 1, 65535)),
    "UINT32": ("uint_contents", [1, 2], struct.pack("<2I", 1, 2)),
    "UINT64": ("uint64_contents", [1, 2**64 - 1], struct.pack("<2Q", 1, 2**64 - 1)),
    "INT8": ("int_contents", [-1, 127], struct.pack("<2b", -1, 127)),
    "INT16": ("int_contents", [-1, 2], struct.pack("<2h", -1, 2)),
    "INT32": ("int_contents", [-1, 2], struct.pack("<2i", -1, 2)),
    "INT64": ("int64_contents", [-(2**63), 2], struct.pack("<2q", -(2**63), 2)),
    "FP32": ("fp32_contents", [0.5, float("inf")], struct.pack("<2f", 0.5, float("inf"))),
    "FP64": ("fp64_contents", [0.1, -1.0], struct.pack("<2d", 0.1, -1.0)),
    "STRING": ("bytes_contents", [b"a\xff", b""], b"\x02\x00\x00\x00a\xff\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("word", [*TYPES, "FP16", "BF16"])
def test_every_datatype_travels_raw(calls, word):
    raw = TYPES[word][2] if word in TYPES else b"\x00\x3c\x01\x7f"
    datatype = "BYTES" if word == "STRING" else word
    tensor = {"name": f"IN_{word}", "datatype": datatype, "shape": [2]}
    outputs = [{"name": f"OUT_{word}"}]
    answer = calls(
        "ModelInfer", calls.infer_request("all_types", tensor, raw=(raw,), outputs=outputs)
    )
    assert (answer.outputs[0].datatype, answer.raw_output_contents[0]) == (datatype, raw)


@pytest.mark.parametrize("word", TYPES)
def test_every_datatype_with_a_field_travels_typed(calls, word):
    field, elements, raw = TYPES[word]
    tensor = {
        "name": f"IN_{word}",
        "datatype": "BYTES" if word == "STRING" else word,
        "shape": [2],
        "contents": {field: elements},
    }
    outputs = [{"name": f"OUT_{word}"}]
    answer = calls("ModelInfer", calls.infer_request("all_types", tensor, outputs=outputs))
    assert answer.raw_output_contents[0] == raw


def test_empty_tensors_are_tensors(calls):
    tensor = {"name": "IN_FP32", "datatype": "FP32", "shape": [0]}
    outputs = [{"name": "OUT_FP32"}]
    answer = calls(
        "ModelInfer", calls.infer_request("all_types", tensor, raw=(b"",), outputs=outputs)
    )
    assert list(answer.outputs[0].shape) == [0]
    assert list(answer.raw_output_contents) == [b""]


# --- streams ------------------------------------------------------------------------------------


def test_119_a_failed_request_does_not_end_the_stream(calls):
    good = calls.infer_request("m", four(), raw=(FOUR,), id="good")
    unknown = calls.infer_request("nobody", four(), raw=(FOUR,), id="unknown")
    answers = list(calls.stream(iter([good, unknown, good])))
    assert [answer.error_message for answer in answers] == [
        "",
        "Request for unknown model: 'nobody' is not found",
        "",
    ]
    assert [answer.infer_response.id for answer in answers] == ["good", "unknown", "good"]
    finals = [dict(answer.infer_response.parameters) for answer in answers]
    assert finals[0]["triton_final_response"].bool_param
    assert finals[1] == {}  # refused before it was queued
    assert list(answers[2].infer_response.raw_output_contents) == [FOUR]


def test_a_model_that_raises_ends_its_request_with_the_final_flag(calls):
    request = calls.infer_request(
        "raising", {"name": "IN", "datatype": "FP32", "shape": [1]}, raw=(FOUR[:4],), id="1"
    )
    (answer,) = calls.stream(iter([request]))
    assert answer.error_message
    assert (answer.infer_response.id, answer.infer_response.model_name) == ("1", "raising")
    assert answer.infer_response.parameters["triton_final_response"].bool_param


def test_119_the_client_may_want_errors_as_the_status(calls):
    unknown = calls.infer_request("nobody", four(), raw=(FOUR,))
    good = calls.infer_request("m", four(), raw=(FOUR,))
    stream = calls.stream(iter([unknown, good]), metadata=[("triton_grpc_error", "true")])
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert caught.value.code() is CODE.NOT_FOUND
    assert caught.value.details() == "Request for unknown model: 'nobody' is not found"


def test_answers_come_in_the_order_of_the_requests(calls):
    slow = {"name": "SECONDS", "datatype": "FP32", "shape": [1]}
    first = calls.infer_request("slow", slow, raw=(struct.pack("<f", 0.3),), id="slow")
    second = calls.infer_request("m", four(), raw=(FOUR,), id="quick")
    answers = list(calls.stream(iter([first, second])))
    assert [answer.infer_response.id for answer in answers] == ["slow", "quick"]


def test_a_stream_carries_more_requests_than_may_be_in_flight(calls):
    requests = (calls.infer_request("m", four(), raw=(FOUR,), id=str(n)) for n in range(1000))
    answers = [answer.infer_response.id for answer in calls.stream(requests)]
    assert answers == [str(number) for number in range(1000)]
