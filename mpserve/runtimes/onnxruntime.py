"""Runtime of ONNX models, executed by ONNX Runtime on the CPU.

Source: Triton's ONNX Runtime backend: file name, parameters and messages.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from mpserve.errors import InvalidRequest, LoadError
from mpserve.model.tensor import Datatype
from mpserve.runtimes.artifact import find_artifact
from mpserve.runtimes.batch_tensors import BatchTensors, batch_tensors_of
from mpserve.runtimes.declared_tensors import (
    ANY_SIZE,
    Declaration,
    DeclaredTensor,
    complete_by_declaration,
)
from mpserve.runtimes.gathering import answer_gathered
from mpserve.runtimes.mlserver_wire import bytes_array, text_elements
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response, Tensor
from mpserve.runtimes.responses import (
    Answer,
    NativeResponses,
    Output,
    ResponseBuilder,
    last_line,
)
from mpserve.runtimes.stacking import answer_together
from mpserve.scheduling.shared_weights import shares_weights

_DATATYPES: Final = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}
_PROVIDERS: Final = ["CPUExecutionProvider"]
_GRAPH_LEVELS: Final = {
    -1: "ORT_ENABLE_BASIC",
    0: "ORT_ENABLE_ALL",
    1: "ORT_ENABLE_EXTENDED",
    2: "ORT_DISABLE_ALL",
}
"""`optimization.graph.level` -> name of ONNX Runtime's."""


class _Graph(msgspec.Struct, frozen=True):
    level: int = 0


class _Accelerator(msgspec.Struct, frozen=True):
    name: str = ""


class _Accelerators(msgspec.Struct, frozen=True):
    cpu_execution_accelerator: tuple[_Accelerator, ...] = ()


class _Optimization(msgspec.Struct, frozen=True):
    graph: _Graph = _Graph()
    execution_accelerators: _Accelerators = _Accelerators()


class _Operations(msgspec.Struct, frozen=True):
    op_library_filename: tuple[str, ...] = ()


class _Config(msgspec.Struct):
    """The part of a configuration that is read here."""

    optimization: _Optimization = _Optimization()
    model_operations: _Operations = _Operations()


class OnnxRuntime:
    """Runs an ONNX graph; satisfies `mpserve.runtimes.protocol.Runtime`."""

    name = "onnxruntime"
    default_files: tuple[str, ...] = ("model.onnx",)

    def __init__(self, responses: ResponseBuilder | None = None) -> None:
        self._responses = responses
        self._session: Any = None  # of a library without types
        self._refusals: tuple[type[Exception], ...] = ()
        self._output_names: tuple[str, ...] = ()
        self._text_inputs: frozenset[str] = frozenset()
        self._batch = BatchTensors()

    def load(self, context: LoadContext) -> CompletedConfig:
        """Load the graph, and complete the configuration by its inputs and outputs."""
        path = find_artifact(context, default_files=self.default_files)
        try:
            library = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise LoadError(
                "runtime 'onnxruntime' needs ONNX Runtime: pip install 'mpserve[onnxruntime]'"
            ) from error
        options = _options(library, context)
        self._responses = self._responses or NativeResponses()
        self._refusals = (ValueError, _refusal_class())
        try:
            self._session = library.InferenceSession(path, options, providers=_PROVIDERS)
        except Exception as error:
            raise LoadError(f"'{path}' is no model of ONNX Runtime: {last_line(error)}") from error
        declaration = Declaration(
            inputs=tuple(_declared(tensor, path) for tensor in self._session.get_inputs()),
            outputs=tuple(_declared(tensor, path) for tensor in self._session.get_outputs()),
        )
        self._output_names = tuple(tensor.name for tensor in declaration.outputs)
        self._text_inputs = frozenset(
            tensor.name for tensor in declaration.inputs if tensor.datatype is Datatype.BYTES
        )
        completed = complete_by_declaration(context, declaration)
        self._batch = batch_tensors_of(completed.config_json)
        return completed

    def execute(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Run the graph, once for all requests that are alike."""
        assert self._responses is not None, "execute before load"
        if self._batch.is_used:
            return answer_gathered(requests, self._responses, self._answer, self._batch)
        return answer_together(requests, self._responses, self._answer)

    def unload(self) -> None:
        """Forget the graph."""
        self._session = None

    def _answer(self, request: Request) -> Answer:
        names = list(request.requested_output_names() or self._output_names)
        unknown = [name for name in names if name not in self._output_names]
        if unknown:
            raise InvalidRequest(
                f"unexpected inference output '{unknown[0]}'; the model has"
                f" {', '.join(self._output_names)}"
            )
        feeds = {tensor.name(): self._feed(tensor) for tensor in request.inputs()}
        try:
            arrays = self._session.run(names, feeds)
        except self._refusals as error:  # names, datatypes, shapes
            raise InvalidRequest(f"onnx runtime error: {error}") from error
        outputs = [
            Output(name=name, array=_wire_array(array))
            for name, array in zip(names, arrays, strict=True)
        ]
        return Answer(outputs=outputs)

    def _feed(self, tensor: Tensor) -> npt.NDArray[Any]:
        array = tensor.as_numpy()
        if tensor.name() not in self._text_inputs:
            return array
        texts = np.empty(array.size, dtype=object)
        texts[:] = text_elements(array)
        return texts.reshape(array.shape)


def _wire_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype != object:
        return array
    return bytes_array(array.ravel().tolist()).reshape(array.shape)


def _declared(tensor: Any, path: Path) -> DeclaredTensor:  # noqa: ANN401  # onnxruntime's NodeArg
    datatype = _DATATYPES.get(tensor.type)
    if datatype is None:
        raise LoadError(
            f"'{path}' has '{tensor.name}' of the type {tensor.type}, which is no tensor of the"
            " protocol; export the model with tensors only (skl2onnx: zipmap=False)"
        )
    shape = tuple(
        size if isinstance(size, int) and size >= 0 else ANY_SIZE for size in tensor.shape
    )
    return DeclaredTensor(name=tensor.name, datatype=datatype, shape=shape)


def _options(library: Any, context: LoadContext) -> Any:  # noqa: ANN401  # a library without types
    """Return the session's options as the configuration has them."""
    options = library.SessionOptions()
    # Threads that wait for work would keep the processor busy between requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: they are raised, too
    parameters = context.config.parameters
    # Its threads are there from the load on, and a fork has none: alone unless asked otherwise.
    usual = 1 if shares_weights(context.config) else 0  # 0: as many as it likes
    options.intra_op_num_threads = _count(parameters, "intra_op_thread_count") or usual
    options.inter_op_num_threads = _count(parameters, "inter_op_thread_count") or usual
    if _count(parameters, "execution_mode") == 1:
        options.execution_mode = library.ExecutionMode.ORT_PARALLEL
    config = msgspec.json.decode(context.config_json or "{}", type=_Config)
    level = _GRAPH_LEVELS.get(config.optimization.graph.level, "ORT_ENABLE_ALL")
    options.graph_optimization_level = getattr(library.GraphOptimizationLevel, level)
    for accelerator in config.optimization.execution_accelerators.cpu_execution_accelerator:
        raise LoadError(
            f"execution accelerator '{accelerator.name}' is not supported: models of ONNX Runtime "
            "run on its CPU provider; remove 'cpu_execution_accelerator'"
        )
    for name in config.model_operations.op_library_filename:
        _register(options, name, folder=Path(context.model_directory))
    return options


def _register(options: Any, name: str, *, folder: Path) -> None:  # noqa: ANN401  # as above
    """Make the operations of a library known; it lies in the model's folder, or elsewhere."""
    inside = folder / name
    try:
        options.register_custom_ops_library(str(inside) if inside.is_file() else name)
    except Exception as error:
        raise LoadError(f"'{name}' is no library of operations: {last_line(error)}") from error


def _count(parameters: dict[str, str], name: str) -> int:
    text = parameters.get(name, "0")
    if not text.isdecimal():
        raise LoadError(f"parameter '{name}' is '{text}'; it must be a number of 0 or more")
    return int(text)


def _refusal_class() -> type[Exception]:
    """What ONNX Runtime raises for inputs that it does not take."""
    module = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    refusal: type[Exception] = module.InvalidArgument
    return refusal
