"""Runtime of PyTorch models: TorchScript, or a module's code with its saved state.

A folder with `model.py` holds the code of one subclass of `torch.nn.Module`, made without
arguments; `model.pt` beside it is then its state dict, and may be left out. Without `model.py`,
`model.pt` is TorchScript.

Source: Triton's PyTorch backend: file names, names of inputs and outputs, parameters and messages.
"""

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mpserve.errors import InvalidRequest, LoadError, ModelError
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.model.triton.config_json import decode_config
from mpserve.runtimes.argument_order import argument_places, output_place
from mpserve.runtimes.artifact import find_artifact
from mpserve.runtimes.batch_tensors import BatchTensors, batch_tensors_of
from mpserve.runtimes.estimator import complete_config
from mpserve.runtimes.gathering import answer_gathered
from mpserve.runtimes.mlserver_wire import bytes_array, text_elements
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response, Tensor
from mpserve.runtimes.python_model_file import import_file
from mpserve.runtimes.responses import (
    Answer,
    NativeResponses,
    Output,
    ResponseBuilder,
    last_line,
)
from mpserve.runtimes.server_inputs import server_inputs
from mpserve.runtimes.stacking import answer_together

CODE_FILE: Final = "model.py"
WEIGHTS_FILE: Final = "model.pt"

_DATATYPES: Final = {
    "bool": Datatype.BOOL,
    "uint8": Datatype.UINT8,
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "float16": Datatype.FP16,
    "float32": Datatype.FP32,
    "float64": Datatype.FP64,
}
"""Name of a dtype of PyTorch -> datatype."""
_DTYPE_NAMES: Final = {datatype.name: name for name, datatype in _DATATYPES.items()}


class PytorchRuntime:
    """Runs a module; satisfies `mpserve.runtimes.protocol.Runtime`."""

    name = "pytorch"
    default_files: tuple[str, ...] = (CODE_FILE, WEIGHTS_FILE)

    def __init__(self, responses: ResponseBuilder | None = None) -> None:
        self._responses = responses
        self._torch: Any = None  # a library whose types are not installed here
        self._model: Any = None
        self._signature = Signature()
        self._arguments: tuple[str, ...] = ()
        self._positions: dict[str, int] = {}
        self._batch = BatchTensors()

    def load(self, context: LoadContext) -> CompletedConfig:
        """Load the module. TorchScript and code are programs: only load what is trusted."""
        try:
            self._torch = importlib.import_module("torch")
        except ImportError as error:
            raise LoadError(
                "runtime 'pytorch' needs PyTorch: pip install 'mpserve[pytorch]'"
            ) from error
        path = self._path(context)
        self._responses = self._responses or NativeResponses()
        self._set_threads(context)
        try:
            module = self._load(path, context)
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(f"failed to load model '{path}': {last_line(error)}") from error
        self._model = module.eval()
        self._signature = context.config.signature
        self._arguments = _argument_names(self._model)
        names = _input_names(context)
        argument_places(names, self._arguments)  # told now, and not with the first request
        self._positions = {name: position for position, name in enumerate(names)}
        self._batch = batch_tensors_of(context.config_json)
        return complete_config(context)

    def execute(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Call the module, once for all requests that are alike."""
        assert self._responses is not None, "execute before load"
        if self._batch.is_used:
            return answer_gathered(requests, self._responses, self._answer, self._batch)
        return answer_together(requests, self._responses, self._answer)

    def unload(self) -> None:
        """Forget the module."""
        self._model = None

    # --- loading ---------------------------------------------------------------------------------

    def _path(self, context: LoadContext) -> Path:
        """Return the code where there is some, whatever file the configuration names."""
        code = Path(context.version_directory, CODE_FILE)
        return code if code.is_file() else find_artifact(context, default_files=self.default_files)

    def _load(self, path: Path, context: LoadContext) -> Any:  # noqa: ANN401
        if path.name != CODE_FILE:
            return self._torch.jit.load(str(path), map_location="cpu")
        module = import_file(path, model_directory=context.model_directory)
        base = self._torch.nn.Module
        kinds = [
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and issubclass(kind, base)
            and kind.__module__ == module.__name__
        ]
        if len(kinds) != 1:
            names = ", ".join(kind.__name__ for kind in kinds) or "none"
            raise LoadError(f"'{path}' must define one subclass of torch.nn.Module; it has {names}")
        model = kinds[0]()
        weights = path.with_name(WEIGHTS_FILE)
        if weights.is_file():
            state = self._torch.load(str(weights), map_location="cpu", weights_only=True)
            model.load_state_dict(state)
        return model

    def _set_threads(self, context: LoadContext) -> None:
        """Take the thread counts of the configuration; PyTorch's own where it has none."""
        parameters = context.config.parameters
        for name, setter in (
            ("INTRA_OP_THREAD_COUNT", self._torch.set_num_threads),
            ("INTER_OP_THREAD_COUNT", self._torch.set_num_interop_threads),
        ):
            text = parameters.get(name)
            if text is None:
                continue
            if not text.isdecimal() or int(text) < 1:
                raise LoadError(f"parameter '{name}' is '{text}'; it must be a number above 0")
            setter(int(text))

    # --- executing -------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        tensors = sorted(request.inputs(), key=self._position)
        places = argument_places([tensor.name() for tensor in tensors], self._arguments)
        arguments: list[Any] = [None] * len(tensors)
        for tensor, place in zip(tensors, places, strict=True):
            arguments[place] = self._argument(tensor)
        try:
            with self._torch.inference_mode():
                result = self._model(*arguments)
        except Exception as error:
            # TorchScript tells its own traceback first.
            reason = str(error).strip().rpartition("\n")[2]
            raise ModelError(f"PyTorch execute failure: {reason}") from error
        return Answer(outputs=self._outputs(result, request.requested_output_names()))

    def _position(self, tensor: Tensor) -> int:
        """Return where the configuration has an input; behind all when it has it not."""
        return self._positions.get(tensor.name(), len(self._positions))

    def _argument(self, tensor: Tensor) -> Any:  # noqa: ANN401
        """Return a tensor of its own memory, since modules may work in place; texts as a list."""
        array = tensor.as_numpy()
        if tensor.datatype_name() == Datatype.BYTES.name:
            return text_elements(array)
        name = _DTYPE_NAMES.get(tensor.datatype_name())
        if name is None:
            raise InvalidRequest(
                f"input '{tensor.name()}': PyTorch has no datatype {tensor.datatype_name()}"
            )
        dtype = getattr(self._torch, name)
        if not array.size:
            return self._torch.empty(array.shape, dtype=dtype)
        # Not `from_numpy`: that needs a NumPy of the version PyTorch was built with.
        return self._torch.frombuffer(bytearray(array.tobytes()), dtype=dtype).reshape(array.shape)

    def _outputs(self, result: Any, wanted: Sequence[str]) -> list[Output]:  # noqa: ANN401
        results = list(result) if isinstance(result, tuple) else [result]
        if isinstance(result, list) and not _is_texts(result):
            results = result
        specs = {spec.name: spec for spec in self._signature.outputs}
        names = wanted or tuple(specs) or tuple(f"OUTPUT__{n}" for n in range(len(results)))
        outputs = []
        for name in names:
            place = output_place(name, tuple(specs))
            if place is None or place >= len(results):
                raise ModelError(
                    f"unexpected inference output '{name}': the model returned {len(results)}"
                )
            outputs.append(self._output(name, results[place], specs.get(name)))
        return outputs

    def _output(self, name: str, value: Any, spec: TensorSpec | None) -> Output:  # noqa: ANN401
        array = self._array(name, value)
        provided = Datatype.BYTES if array.dtype == object else _DATATYPES[array.dtype.name]
        wanted = spec.datatype if spec is not None else None
        if wanted is not None and wanted is not provided:
            raise ModelError(
                f"configuration expects datatype {wanted.config_name} for output '{name}',"
                f" model provides {provided.config_name}"
            )
        return Output(name=name, array=array)

    def _array(self, name: str, value: Any) -> npt.NDArray[Any]:  # noqa: ANN401
        if isinstance(value, list) and _is_texts(value):
            return bytes_array(value)
        if not isinstance(value, self._torch.Tensor):
            raise ModelError(
                f"output '{name}' is {type(value).__name__}; the module must return tensors, or"
                " lists of texts"
            )
        tensor: Any = value
        tensor = tensor.detach().contiguous()
        if str(tensor.dtype).removeprefix("torch.") not in _DATATYPES:
            raise ModelError(f"output '{name}' of {tensor.dtype} has no datatype of the protocol")
        if tensor.dtype == self._torch.bool:  # which DLPack has not had at first
            return np.from_dlpack(tensor.to(self._torch.uint8)).view(np.bool_)
        return np.from_dlpack(tensor)


def _input_names(context: LoadContext) -> list[str]:
    """Return the inputs that are declared, then those that the server gives, in order."""
    names = [one.name for one in context.config.signature.inputs]
    if not context.config_json:
        return names
    return [*names, *(given.name for given in server_inputs(decode_config(context.config_json)))]


def _is_texts(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _argument_names(model: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the names of the arguments of `forward`, without `self`."""
    schema = getattr(model.forward, "schema", None)  # of TorchScript
    if schema is not None:
        return tuple(argument.name for argument in schema.arguments[1:])
    return tuple(inspect.signature(model.forward).parameters)
