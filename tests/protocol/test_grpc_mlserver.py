"""MLServer's gRPC protocol: its services, and where its answers differ from Triton's."""

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from mpserve.model.proto.schema import HEALTH, MLSERVER_REPOSITORY, REFLECTION, schema
from tests.fixtures.grpc_calls import BOTH_TRANSPORTS, MLSERVER, Calls, refusal
from tests.fixtures.pace import within

pytestmark = BOTH_TRANSPORTS

CODE = grpc.StatusCode
THREE = np.array([1.0, 2.0, 3.0], dtype=np.float32)
REPOSITORY = "inference.model_repository.ModelRepositoryService"


@pytest.fixture(scope="module")
def calls(mlserver):
    with grpc.insecure_channel(mlserver.grpc_address) as channel:
        yield Calls(channel, MLSERVER)


def three(**fields):
    return {"name": "x", "datatype": "FP32", "shape": [3], **fields}


def test_health_and_metadata(calls):
    assert calls("ServerLive").live
    assert calls("ServerMetadata").name == "mlserver"
    assert calls("ModelReady", name="echo").ready
    assert calls("ModelMetadata", name="echo").name == "echo"


def test_typed_inputs_have_typed_outputs(calls):
    tensor = three(contents={"fp32_contents": THREE.tolist()})
    answer = calls("ModelInfer", calls.infer_request("echo", tensor, id="7"))
    assert (answer.model_name, answer.id) == ("echo", "7")
    assert list(answer.outputs[0].contents.fp32_contents) == THREE.tolist()
    assert not answer.raw_output_contents


def test_raw_inputs_have_raw_outputs(calls):
    answer = calls("ModelInfer", calls.infer_request("echo", three(), raw=(THREE.tobytes(),)))
    assert list(answer.raw_output_contents) == [THREE.tobytes()]
    assert not answer.outputs[0].HasField("contents")


def test_a_request_without_an_id_gets_none(calls):
    answer = calls("ModelInfer", calls.infer_request("echo", three(), raw=(THREE.tobytes(),)))
    assert answer.id == ""


def test_elements_may_be_in_another_field(calls):
    tensor = three(contents={"int_contents": [1, 2, 3]})
    answer = calls("ModelInfer", calls.infer_request("echo", tensor))
    assert list(answer.outputs[0].contents.fp32_contents) == THREE.tolist()


def test_versions_are_words(calls):
    request = calls.infer_request(
        "versioned", three(), raw=(THREE.tobytes(),), model_version="v0.1.0"
    )
    assert calls("ModelInfer", request).model_version == "v0.1.0"


def test_an_unknown_model_is_not_found(calls):
    request = calls.infer_request("nobody", three(), raw=(THREE.tobytes(),))
    assert refusal(calls, "ModelInfer", request) == (CODE.NOT_FOUND, "Model nobody not found")


def test_a_stream_answers_with_bare_responses(calls):
    requests = [
        calls.infer_request("echo", three(), raw=(THREE.tobytes(),), id=str(number))
        for number in range(3)
    ]
    answers = list(calls.stream(iter(requests)))
    assert [answer.id for answer in answers] == ["0", "1", "2"]
    assert "triton_final_response" not in answers[0].parameters


def test_an_error_ends_a_stream_with_its_status(calls):
    stream = calls.stream(iter([calls.infer_request("nobody", three(), raw=(b"",))]))
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert (caught.value.code(), caught.value.details()) == (
        CODE.NOT_FOUND,
        "Model nobody not found",
    )


def test_the_repository_has_a_service_of_its_own(calls):
    messages = schema(MLSERVER_REPOSITORY)
    index = Calls(calls.channel, messages).raw(
        f"/{REPOSITORY}/RepositoryIndex",
        b"",
        "inference.model_repository.RepositoryIndexResponse",
    )
    assert [row.name for row in index.models] == [
        row.name for row in calls("RepositoryIndex").models
    ]
    assert "echo" in [row.name for row in index.models]


def test_a_model_is_unloaded_and_loaded(calls):
    calls("RepositoryModelUnload", model_name="versioned")
    code, _ = refusal(calls, "ModelMetadata", name="versioned")
    assert code is CODE.NOT_FOUND
    calls("RepositoryModelLoad", model_name="versioned")
    assert calls("ModelReady", name="versioned").ready
    assert refusal(calls, "RepositoryModelUnload", model_name="nobody") == (
        CODE.NOT_FOUND,
        "Model nobody not found",
    )


def test_health_can_be_watched(calls):
    messages = schema(HEALTH)
    watch = calls.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        response_deserializer=messages.message("grpc.health.v1.HealthCheckResponse").FromString,
    )(b"", timeout=within(10))
    assert next(iter(watch)).status in {1, 2}
    watch.cancel()


def test_reflection_tells_the_services_and_their_messages(calls):
    messages = schema(REFLECTION)
    package = "grpc.reflection.v1alpha"
    request = messages.message(f"{package}.ServerReflectionRequest")
    ask = calls.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=messages.message(f"{package}.ServerReflectionResponse").FromString,
    )
    questions = [
        request(list_services=""),
        request(file_containing_symbol="inference.GRPCInferenceService"),
        request(file_by_filename="health.proto"),
        request(file_containing_symbol="nobody.Knows"),
    ]
    services, by_symbol, by_name, unknown = ask(iter(questions), timeout=within(10))
    assert [one.name for one in services.list_services_response.service] == [
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        REPOSITORY,
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    names = [
        descriptor_pb2.FileDescriptorProto.FromString(file).package
        for answer in (by_symbol, by_name)
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert names == ["inference", "grpc.health.v1"]
    assert unknown.error_response.error_code == CODE.NOT_FOUND.value[0]
