"""`grpc.reflection.v1.ServerReflection` and `v1alpha`: what is served, for tools.

Source: the gRPC server reflection protocol. Extensions do not exist in proto3.
"""

from collections.abc import Sequence
from typing import Any, Final

from mpserve.dialect import GrpcCode
from mpserve.errors import MpserveError
from mpserve.frontend.grpc.call import (
    SHUTTING_DOWN,
    GrpcFailure,
    Metadata,
    StreamMethod,
    StreamOutput,
)
from mpserve.frontend.grpc.messages import parse
from mpserve.model.proto.schema import REFLECTION, REFLECTION_V1, Schema, schema

_FILES: Final = {"grpc.reflection.v1": REFLECTION_V1, "grpc.reflection.v1alpha": REFLECTION}
"""Package -> its file. The two differ in nothing else."""

_NOT_FOUND: Final = GrpcCode.NOT_FOUND.value
_UNIMPLEMENTED: Final = GrpcCode.UNIMPLEMENTED.value


def reflection_methods(schemas: Sequence[Schema]) -> dict[str, StreamMethod]:
    """Return the methods of both services by their paths."""
    told = (*schemas, *(schema(file) for file in _FILES.values()))
    return {
        f"/{package}.ServerReflection/ServerReflectionInfo": ReflectionService(
            told, package=package
        ).open
        for package in _FILES
    }


class ReflectionService:
    """Answers from the schemas that are served."""

    def __init__(self, schemas: Sequence[Schema], *, package: str) -> None:
        self._schemas = schemas
        own = schema(_FILES[package])
        self._request_class = own.message(f"{package}.ServerReflectionRequest")
        self._answer_class = own.message(f"{package}.ServerReflectionResponse")

    def open(self, output: StreamOutput, _: Metadata) -> "ReflectionStream":
        """Open a stream of questions."""
        return ReflectionStream(service=self, output=output)

    def answer(self, encoded: bytes) -> bytes:
        """Return the answer to one question; raises `MalformedRequest`."""
        request = parse(self._request_class, encoded)
        answer = self._answer_class(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request") or ""
        match kind:
            case "list_services":
                for one in self._schemas:
                    for name in one.services():
                        answer.list_services_response.service.add(name=name)
            case "file_by_filename" | "file_containing_symbol":
                self._add_file(answer, kind, getattr(request, kind))
            case _:
                answer.error_response.error_code = _UNIMPLEMENTED
                answer.error_response.error_message = "there are no extensions in proto3"
        encoded_answer: bytes = answer.SerializeToString()
        return encoded_answer

    def _add_file(self, answer: Any, kind: str, name: str) -> None:  # noqa: ANN401  a message
        for one in self._schemas:
            try:
                file = one.file(name) if kind == "file_by_filename" else one.file_of(name)
            except KeyError:
                continue
            answer.file_descriptor_response.file_descriptor_proto.append(one.file_bytes(file.name))
            return
        answer.error_response.error_code = _NOT_FOUND
        answer.error_response.error_message = f"'{name}' is not known"


class ReflectionStream:
    """One client's questions, each answered at once."""

    def __init__(self, *, service: ReflectionService, output: StreamOutput) -> None:
        self._service = service
        self._output = output

    def on_message(self, message: bytes) -> None:
        """Answer a question."""
        try:
            self._output.send(self._service.answer(message))
        except MpserveError as error:
            self._output.end(GrpcFailure(code=GrpcCode.INVALID_ARGUMENT, message=error.message))

    def on_half_close(self) -> None:
        """Everything is answered: end."""
        self._output.end(None)

    def on_client_gone(self) -> None:
        """Nothing waits."""

    def on_drain(self) -> None:
        """End: the server does."""
        self._output.end(SHUTTING_DOWN)

    def has_room(self) -> bool:
        """Tell that messages may be read: they are answered at once."""
        return True
