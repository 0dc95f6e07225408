"""The services are those of the peers' own clients, and lie in no shared pool."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from mpserve.model.proto.schema import (
    HEALTH,
    MLSERVER_DATAPLANE,
    MLSERVER_REPOSITORY,
    MODEL_CONFIG,
    REFLECTION,
    TRITON_SERVICE,
    schema,
)


def shape_of(file_descriptor):
    """Return message -> fields by number, and the methods, of a compiled file."""
    file = descriptor_pb2.FileDescriptorProto()
    file_descriptor.CopyToProto(file)
    messages = {}

    def walk(prefix, message):
        messages[prefix + message.name] = sorted(
            (field.number, field.name, field.type, field.label, field.type_name)
            for field in message.field
        )
        for nested in message.nested_type:
            walk(f"{prefix}{message.name}.", nested)

    for message in file.message_type:
        walk("", message)
    methods = [
        (
            method.name,
            method.input_type,
            method.output_type,
            method.client_streaming,
            method.server_streaming,
        )
        for service in file.service
        for method in service.method
    ]
    return messages, methods


def test_tritons_service_is_that_of_its_client():
    theirs = pytest.importorskip("tritonclient.grpc").service_pb2
    ours = schema(MODEL_CONFIG, TRITON_SERVICE).file(TRITON_SERVICE)
    assert shape_of(ours) == shape_of(theirs.DESCRIPTOR)


@pytest.mark.parametrize(
    ("files", "services"),
    [
        ((MODEL_CONFIG, TRITON_SERVICE), ["inference.GRPCInferenceService"]),
        ((MLSERVER_DATAPLANE,), ["inference.GRPCInferenceService"]),
        ((MLSERVER_REPOSITORY,), ["inference.model_repository.ModelRepositoryService"]),
        ((HEALTH,), ["grpc.health.v1.Health"]),
        ((REFLECTION,), ["grpc.reflection.v1alpha.ServerReflection"]),
    ],
    ids=lambda value: value[-1],
)
def test_each_file_has_its_service(files, services):
    assert list(schema(*files).services()) == services


def test_a_schema_is_compiled_once():
    assert schema(HEALTH) is schema(HEALTH)


def test_the_messages_are_in_no_shared_pool():
    assert schema(HEALTH).message("grpc.health.v1.HealthCheckRequest")(service="s")
    code = (
        "from google.protobuf import descriptor_pool\n"
        "from mpserve.model.proto.schema import HEALTH, schema\n"
        "schema(HEALTH)\n"
        "descriptor_pool.Default().FindMessageTypeByName('grpc.health.v1.HealthCheckRequest')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert b"KeyError" in done.stderr


def test_a_file_is_sent_as_it_was_compiled():
    file = descriptor_pb2.FileDescriptorProto.FromString(schema(HEALTH).file_bytes(HEALTH))
    assert file.package == "grpc.health.v1"
    assert [method.name for method in file.service[0].method] == ["Check", "Watch"]
