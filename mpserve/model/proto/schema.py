"""Message classes and services of the protocols, each set of files in a descriptor pool of its own.

So another package with the same message names (`tritonclient`) can be imported beside them.
Importing this imports protobuf, so it is imported by those who need it, when they need it.
"""

import functools
from importlib import resources
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from mpserve.model.proto.proto_text import parse_proto

MODEL_CONFIG = "model_config.proto"
TRITON_SERVICE = "triton_service.proto"
MLSERVER_DATAPLANE = "mlserver_dataplane.proto"
MLSERVER_REPOSITORY = "mlserver_repository.proto"
HEALTH = "health.proto"
REFLECTION = "reflection.proto"
REFLECTION_V1 = "reflection_v1.proto"
_RENAMED: Final = {REFLECTION_V1: (REFLECTION, "grpc.reflection.v1alpha", "grpc.reflection.v1")}
"""File -> file that it is like, package there, package here."""


class Schema:
    """Files that are compiled together.

    Parameters
    ----------
    names
        Files of this folder, those that others import first.
    """

    def __init__(self, *names: str) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self._names = names
        self._classes: dict[str, type[Message]] = {}
        for name in names:
            self._pool.Add(parse_proto(_text_of(name), name=name))

    def descriptor(self, full_name: str) -> Descriptor:
        """Return the descriptor of a message."""
        return self._pool.FindMessageTypeByName(full_name)

    def message(self, full_name: str) -> type[Any]:  # protobuf makes the fields at run time
        """Return the class of a message."""
        known = self._classes.get(full_name)
        if known is None:
            known = message_factory.GetMessageClass(self.descriptor(full_name))
            self._classes[full_name] = known
        return known

    def services(self) -> dict[str, ServiceDescriptor]:
        """Return all services by their full names, in the order of the files."""
        return {
            service.full_name: service
            for name in self._names
            for service in self._pool.FindFileByName(name).services_by_name.values()
        }

    def file(self, name: str) -> FileDescriptor:
        """Return a file by its name; raises `KeyError`."""
        return self._pool.FindFileByName(name)

    def file_of(self, symbol: str) -> FileDescriptor:
        """Return the file that declares a message, enum, service or method; raises `KeyError`."""
        return self._pool.FindFileContainingSymbol(symbol)

    def file_bytes(self, name: str) -> bytes:
        """Return a file as an encoded `FileDescriptorProto`, as reflection sends it."""
        proto = descriptor_pb2.FileDescriptorProto()
        self.file(name).CopyToProto(proto)
        return proto.SerializeToString()


def _text_of(name: str) -> str:
    source, there, here = _RENAMED.get(name, (name, "", ""))
    text = resources.files("mpserve.model.proto").joinpath(source).read_text("utf-8")
    return text.replace(there, here) if there else text


@functools.cache
def schema(*names: str) -> Schema:
    """Return the schema of these files, compiled once."""
    return Schema(*names)


def config_schema() -> Schema:
    """Return the schema of `ModelConfig`."""
    return schema(MODEL_CONFIG)


def config_descriptor() -> Descriptor:
    """Return the descriptor of `ModelConfig`."""
    return config_schema().descriptor("inference.ModelConfig")


def config_class() -> type[Message]:
    """Return the message class of `ModelConfig`."""
    return config_schema().message("inference.ModelConfig")
