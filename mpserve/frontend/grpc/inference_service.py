"""The unary methods of `GRPCInferenceService`, besides inference itself.

Source: triton.md 4.5; MLServer 1.7.1, whose service has fewer methods.
"""

import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from google.protobuf import json_format

from mpserve.codec import proto_parameters, setting_proto
from mpserve.codec.management_json import LoadParameters
from mpserve.dialect import Dialect, Operation
from mpserve.dispatch.regions import Regions
from mpserve.errors import (
    ErrorCode,
    Failure,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    MpserveError,
    Unsupported,
)
from mpserve.frontend.grpc.call import Call, UnaryMethod, grpc_failure
from mpserve.frontend.grpc.infer import CHECK_VERSION
from mpserve.frontend.grpc.messages import INFERENCE_SERVICE, inference_schema, parse
from mpserve.frontend.handlers import cuda_memory
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.handlers.metadata import MetadataHandler
from mpserve.frontend.handlers.repository import RepositoryCalls, RepositoryResult
from mpserve.frontend.handlers.statistics import StatisticsHandler
from mpserve.model.identity import model_name
from mpserve.model.log_switches import LogSwitches
from mpserve.model.metadata import TensorMetadata
from mpserve.model.proto.schema import Schema
from mpserve.model.state import IndexRow
from mpserve.model.trace_setting import ToldTrace
from mpserve.telemetry import log

Message = Any  # protobuf makes the fields of messages at run time
Fill = Callable[[Message, Message], None]
"""Request, empty answer: fills the answer."""
Ask = Callable[[Message, Callable[[Any], None]], None]
"""Request, callback: asks the supervisor."""
Tell = Callable[[Any, Message], None]
"""What the supervisor answered, empty answer: fills the answer."""

_CONFIG: Final = "config"
_FILE_PREFIX: Final = "file:"


class InferenceService:
    """Answers by method name; never raises."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        health: Health,
        metadata: MetadataHandler,
        statistics: StatisticsHandler,
        repository: RepositoryCalls,
        regions: Regions,
    ) -> None:
        self._dialect = dialect
        self._health = health
        self._metadata = metadata
        self._statistics = statistics
        self._repository = repository
        self._regions = regions
        self._check_version = CHECK_VERSION[dialect.name]
        self._fills: Mapping[str, tuple[Operation, Fill]] = {
            "ServerLive": (Operation.HEALTH, self._server_live),
            "ServerReady": (Operation.HEALTH, self._server_ready),
            "ModelReady": (Operation.MODEL_READY, self._model_ready),
            "ServerMetadata": (Operation.SERVER_METADATA, self._server_metadata),
            "ModelMetadata": (Operation.MODEL_METADATA, self._model_metadata),
            "ModelConfig": (Operation.MODEL_CONFIG, self._model_config),
            "ModelStatistics": (Operation.STATISTICS, self._model_statistics),
            "SystemSharedMemoryStatus": (Operation.SHARED_MEMORY, self._region_status),
            "CudaSharedMemoryStatus": (Operation.SHARED_MEMORY, self._cuda_status),
            "CudaSharedMemoryRegister": (Operation.SHARED_MEMORY, self._cuda_register),
            "CudaSharedMemoryUnregister": (Operation.SHARED_MEMORY, self._cuda_unregister),
        }
        self._asks: Mapping[str, tuple[Operation, Ask, Tell]] = {
            "RepositoryIndex": (Operation.INDEX, self._index, _tell_index),
            "RepositoryModelLoad": (Operation.LOAD, self._load, _tell_nothing),
            "RepositoryModelUnload": (Operation.UNLOAD, self._unload, _tell_nothing),
            "SystemSharedMemoryRegister": (Operation.SHARED_MEMORY, self._register, _tell_nothing),
            "SystemSharedMemoryUnregister": (
                Operation.SHARED_MEMORY,
                self._unregister,
                _tell_nothing,
            ),
            "TraceSetting": (Operation.TRACE, self._trace_setting, _tell_trace),
            "LogSettings": (Operation.LOGGING, self._log_settings, _tell_log),
        }

    def methods(self) -> dict[str, UnaryMethod]:
        """Return path -> method, for all that the dialect's service has and that is known here."""
        schema = inference_schema(self._dialect.name)
        return self.methods_of(schema, INFERENCE_SERVICE)

    def methods_of(self, schema: Schema, service: str) -> dict[str, UnaryMethod]:
        """Return path -> method for another service whose methods have the same names."""
        found: dict[str, UnaryMethod] = {}
        for name, method in schema.services()[service].methods_by_name.items():
            request_class = schema.message(method.input_type.full_name)
            answer_class = schema.message(method.output_type.full_name)
            path = f"/{service}/{name}"
            if name in self._fills:
                operation, fill = self._fills[name]
                found[path] = partial(
                    self._answer, operation, _filled(request_class, answer_class, fill)
                )
            elif name in self._asks:
                operation, ask, tell = self._asks[name]
                told = partial(self._on_result, operation, answer_class, tell)
                found[path] = partial(self._answer, operation, _asked(request_class, told, ask))
        return found

    # --- the border ------------------------------------------------------------------------------

    def _answer(
        self, operation: Operation, method: UnaryMethod, encoded: bytes, call: Call
    ) -> None:
        try:
            method(encoded, call)
        except MpserveError as error:
            self._refuse(call, operation, error.failure())
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error(
                "request.crashed",
                target=operation.value,
                error=repr(error),
                traceback=traceback.format_exc(),
            )
            failure = Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}")
            self._refuse(call, operation, failure)

    def _refuse(self, call: Call, operation: Operation, failure: Failure) -> None:
        call.finish(grpc_failure(failure, dialect=self._dialect, operation=operation))

    def _on_result(
        self,
        operation: Operation,
        answer_class: Message,
        tell: Tell,
        call: Call,
        result: Any,  # noqa: ANN401  what `tell` takes
    ) -> None:
        if isinstance(result, Failure):
            self._refuse(call, operation, result)
            return
        answer = answer_class()
        tell(result, answer)
        call.finish(answer.SerializeToString())

    # --- health and metadata ---------------------------------------------------------------------

    def _server_live(self, _: Message, answer: Message) -> None:
        answer.live = self._health.is_live

    def _server_ready(self, _: Message, answer: Message) -> None:
        answer.ready = self._health.is_ready

    def _model_ready(self, request: Message, answer: Message) -> None:
        version = self._check_version(request.version)
        try:
            self._metadata.check_ready(request.name, version)
        except (ModelNotFound, ModelNotReady):
            answer.ready = False
        else:
            answer.ready = True

    def _server_metadata(self, _: Message, answer: Message) -> None:
        metadata = self._metadata.server()
        answer.name = metadata.name
        answer.version = metadata.version
        answer.extensions.extend(metadata.extensions)

    def _model_metadata(self, request: Message, answer: Message) -> None:
        metadata = self._metadata.model(request.name, self._check_version(request.version))
        answer.name = metadata.name
        answer.versions.extend(metadata.versions)
        answer.platform = metadata.platform
        if self._dialect.response_names_parameters:
            proto_parameters.fill(answer.parameters, metadata.parameters_json)
        for tensors, told in ((metadata.inputs, answer.inputs), (metadata.outputs, answer.outputs)):
            for tensor in tensors:
                self._add_tensor(tensor, told)

    def _add_tensor(self, tensor: TensorMetadata, told: Message) -> None:
        one = told.add(name=tensor.name, datatype=tensor.datatype.name, shape=tensor.shape)
        if self._dialect.response_names_parameters:
            proto_parameters.fill(one.parameters, tensor.parameters_json)

    def _model_config(self, request: Message, answer: Message) -> None:
        text = self._metadata.config(request.name, self._check_version(request.version))
        json_format.Parse(text, answer.config)

    def _model_statistics(self, request: Message, answer: Message) -> None:
        version = self._check_version(request.version)
        found = (
            self._statistics.of_model(request.name, version)
            if request.name
            else self._statistics.of_all()
        )
        json_format.ParseDict(msgspec.to_builtins(found), answer)  # named alike on both wires

    # --- shared memory of clients ----------------------------------------------------------------

    def _region_status(self, request: Message, answer: Message) -> None:
        for region in self._regions.status(request.name):
            told = answer.regions[region.name]
            told.name = region.name
            told.key = region.key
            told.offset = region.offset
            told.byte_size = region.byte_size

    def _register(self, request: Message, on_result: Callable[[Any], None]) -> None:
        self._regions.check_allowed()
        self._repository.register_region(
            on_result,
            name=request.name,
            key=request.key,
            offset=request.offset,
            byte_size=request.byte_size,
        )

    def _unregister(self, request: Message, on_result: Callable[[Any], None]) -> None:
        self._regions.check_allowed()
        self._repository.unregister_regions(on_result, name=request.name)

    def _cuda_status(self, request: Message, _: Message) -> None:
        cuda_memory.check_status(request.name)

    def _cuda_register(self, request: Message, _: Message) -> None:
        self._regions.check_allowed()
        raise cuda_memory.refuse(request.name)

    def _cuda_unregister(self, _: Message, __: Message) -> None:
        self._regions.check_allowed()

    # --- repository ------------------------------------------------------------------------------

    def _index(self, request: Message, on_result: Callable[[RepositoryResult], None]) -> None:
        self._refuse_repository_name(request)
        self._repository.index(on_result, ready_only=request.ready)

    def _load(self, request: Message, on_result: Callable[[RepositoryResult], None]) -> None:
        self._refuse_repository_name(request)
        name = model_name(request.model_name)
        parameters = (
            read_load(request.parameters) if self._dialect.load_reads_body else LoadParameters()
        )
        self._repository.load(name, parameters, on_result)

    def _unload(self, request: Message, on_result: Callable[[RepositoryResult], None]) -> None:
        self._refuse_repository_name(request)
        dependents = self._dialect.load_reads_body and read_unload(request.parameters)
        self._repository.unload(request.model_name, on_result, unload_dependents=dependents)

    # --- settings --------------------------------------------------------------------------------

    def _trace_setting(self, request: Message, on_result: Callable[[Any], None]) -> None:
        if request.model_name:
            self._metadata.check_known(request.model_name)
        change = setting_proto.read_trace_change(request.settings)
        self._repository.trace(on_result, model=request.model_name, change=change)

    def _log_settings(self, request: Message, on_result: Callable[[Any], None]) -> None:
        change = setting_proto.read_log_change(request.settings)
        self._repository.logging(on_result, change=change)

    def _refuse_repository_name(self, request: Message) -> None:
        if self._dialect.load_reads_body and request.repository_name:
            raise Unsupported("'repository_name' specification is not supported")


def _asked(request_class: Message, told: Callable[[Call, Any], None], ask: Ask) -> UnaryMethod:
    def method(encoded: bytes, call: Call) -> None:
        ask(parse(request_class, encoded), partial(told, call))

    return method


def _tell_nothing(*_: object) -> None:
    """The answer is empty."""


def _tell_index(rows: Iterable[IndexRow], answer: Message) -> None:
    for row in rows:
        answer.models.add(
            name=row.name,
            version=row.version,
            state=row.state.value if row.state is not None else "",
            reason=row.reason,
        )


def _tell_trace(told: ToldTrace, answer: Message) -> None:
    setting_proto.fill_trace(answer.settings, told)


def _tell_log(switches: LogSwitches, answer: Message) -> None:
    setting_proto.fill_log(answer.settings, switches)


def read_load(parameters: Message) -> LoadParameters:
    """Read the parameters of a load call.

    Raises
    ------
    InvalidRequest
        An unknown name, or a value of the wrong kind.
    """
    config = ""
    files: dict[str, bytes] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if name == _CONFIG:
            _check_choice(choice, "string_param", f"load parameter '{name}'")
            config = parameter.string_param
        elif name.startswith(_FILE_PREFIX):
            _check_choice(choice, "bytes_param", f"load parameter '{name}'")
            files[name.removeprefix(_FILE_PREFIX)] = parameter.bytes_param
        else:
            raise InvalidRequest(f"unrecognized load parameter '{name}'.")
    return LoadParameters(config=config, files=files)


def read_unload(parameters: Message) -> bool:
    """Return whether the dependents are to be unloaded too; raises `InvalidRequest`."""
    if "unload_dependents" not in parameters:
        return False
    parameter = parameters["unload_dependents"]
    choice = parameter.WhichOneof("parameter_choice")
    _check_choice(choice, "bool_param", "'unload_dependents' parameter")
    wanted: bool = parameter.bool_param
    return wanted


def _check_choice(choice: str | None, expected: str, place: str) -> None:
    if choice != expected:
        raise InvalidRequest(f"invalid value type for {place}, expected {expected}.")


def _filled(request_class: Message, answer_class: Message, fill: Fill) -> UnaryMethod:
    def method(encoded: bytes, call: Call) -> None:
        answer = answer_class()
        fill(parse(request_class, encoded), answer)
        call.finish(answer.SerializeToString())

    return method
