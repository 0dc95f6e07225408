"""Completion of a configuration by the inputs and outputs that a model file declares. Pure.

Source: Triton's ONNX Runtime backend (auto-completion, its checks and their words). A model whose
every tensor has a first dimension of any size is taken to batch. What the server gives the model
itself (controls and states of sequences, batch inputs) is none of the inputs.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from mpserve.errors import InvalidRequest
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.model.triton.completion import SCHEDULING_CHOICES, complete
from mpserve.model.triton.config import ModelInput, ModelOutput, TensorReshape, TritonConfig
from mpserve.model.triton.config_json import decode_config, encode_config
from mpserve.model.triton.scheduling_config import DynamicBatching
from mpserve.runtimes.batch_tensors import BatchTensors
from mpserve.runtimes.protocol import CompletedConfig, LoadContext
from mpserve.runtimes.server_inputs import server_inputs

DEFAULT_MAX_BATCH_SIZE: Final = 4
"""What Triton completes `max_batch_size` with (`--backend-config=default-max-batch-size`)."""

ANY_SIZE: Final = -1


class DeclaredTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output as the file has it; -1 in `shape` stands for any size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """All that the file says of its tensors."""

    inputs: tuple[DeclaredTensor, ...]
    outputs: tuple[DeclaredTensor, ...]

    @property
    def batches(self) -> bool:
        """Whether the first dimension of every tensor may be a batch."""
        tensors = (*self.inputs, *self.outputs)
        return all(tensor.shape and tensor.shape[0] == ANY_SIZE for tensor in tensors)


def complete_by_declaration(context: LoadContext, declaration: Declaration) -> CompletedConfig:
    """Return the configuration with what it lacks taken from the file.

    Raises
    ------
    InvalidRequest
        The configuration and the file contradict each other; in Triton's words.
    """
    if not context.config_json:
        return _of_settings(context, declaration)
    config = decode_config(context.config_json)
    _check_server_inputs(config, declaration)
    declaration = _of_clients(config, declaration)
    if context.complete_config:
        config = _completed(config, declaration)
    _check(config, declaration)
    if not context.complete_config:
        return CompletedConfig(config=context.config, config_json=context.config_json)
    return complete(context.config_json, returned_json=encode_config(config))


def _of_clients(config: TritonConfig, declaration: Declaration) -> Declaration:
    """Leave out what the server gives or keeps, and no client sends or gets."""
    given = {one.name for one in server_inputs(config)}
    kept: set[str] = set()
    if config.sequence_batching is not UNSET:
        kept = {state.output_name for state in config.sequence_batching.state}
    kept -= {output.name for output in config.output}
    return Declaration(
        inputs=tuple(one for one in declaration.inputs if one.name not in given),
        outputs=tuple(one for one in declaration.outputs if one.name not in kept),
    )


def _of_settings(context: LoadContext, declaration: Declaration) -> CompletedConfig:
    """MLServer's settings: what they declare holds, the rest is the file's."""
    given = context.config.signature
    signature = replace(
        given,
        inputs=given.inputs or tuple(_spec(tensor) for tensor in declaration.inputs),
        outputs=given.outputs or tuple(_spec(tensor) for tensor in declaration.outputs),
        open_inputs=False,
        open_outputs=False,
    )
    return CompletedConfig(config=replace(context.config, signature=signature), config_json="")


def _spec(tensor: DeclaredTensor) -> TensorSpec:
    return TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _completed(config: TritonConfig, declaration: Declaration) -> TritonConfig:
    size = config.max_batch_size
    if size == 0 and declaration.batches and not _declares_whole_shapes(config, declaration):
        size = DEFAULT_MAX_BATCH_SIZE
    has_choice = any(getattr(config, choice) is not UNSET for choice in SCHEDULING_CHOICES)
    batching = config.dynamic_batching if has_choice or size < 2 else DynamicBatching()
    return replace(
        config,
        max_batch_size=size,
        dynamic_batching=batching,
        input=_filled(config.input, ModelInput, declaration.inputs, batches=size > 0),
        output=_filled(config.output, ModelOutput, declaration.outputs, batches=size > 0),
    )


def _declares_whole_shapes(config: TritonConfig, declaration: Declaration) -> bool:
    """Say whether the dims that are given have the batch dimension in them: then there is none."""
    shapes = {tensor.name: tensor.shape for tensor in (*declaration.inputs, *declaration.outputs)}
    tensors: tuple[ModelInput | ModelOutput, ...] = (*config.input, *config.output)
    rows = BatchTensors.of(config)
    given = [
        tensor
        for tensor in tensors
        if tensor.dims and tensor.name not in rows.ragged and tensor.name not in rows.outputs
    ]
    return any(len(tensor.model_dims) == len(shapes.get(tensor.name, ())) for tensor in given)


def _filled(
    given: Sequence[Any], kind: type[Any], declared: Sequence[DeclaredTensor], *, batches: bool
) -> tuple[Any, ...]:
    """Return the tensors of the configuration; all of the file's where it has none."""
    by_name = {tensor.name: tensor for tensor in declared}
    wanted = given or [kind(name=tensor.name) for tensor in declared]
    return tuple(
        _filled_one(tensor, by_name[tensor.name], batches=batches)
        if tensor.name in by_name
        else tensor
        for tensor in wanted
    )


def _filled_one(tensor: Any, declared: DeclaredTensor, *, batches: bool) -> Any:  # noqa: ANN401
    known = tensor.data_type != "TYPE_INVALID"
    shape = declared.shape[1:] if batches else declared.shape
    dims, reshape = (shape, tensor.reshape) if shape else ((1,), TensorReshape())
    return replace(
        tensor,
        data_type=tensor.data_type if known else declared.datatype.config_name,
        dims=tensor.dims or dims,
        reshape=tensor.reshape if tensor.dims else reshape,
    )


def _check(config: TritonConfig, declaration: Declaration) -> None:
    if config.max_batch_size > 0 and not declaration.batches:
        raise InvalidRequest(
            f"autofill failed for model '{config.name}': model does not support batching while"
            " non-zero max_batch_size is specified"
        )
    _check_all(config, config.input, declaration.inputs, word="input")
    _check_all(config, config.output, declaration.outputs, word="output")
    lacking = {tensor.name for tensor in declaration.inputs} - {one.name for one in config.input}
    if lacking:
        raise InvalidRequest(
            f"failed to load model '{config.name}', configuration expects {len(config.input)}"
            f" inputs, model provides {len(declaration.inputs)}"
        )


def _check_server_inputs(config: TritonConfig, declaration: Declaration) -> None:
    by_name = {tensor.name: tensor for tensor in declaration.inputs}
    for given in server_inputs(config):
        if given.name not in by_name:
            raise _unexpected("input", given.name, by_name)
        _check_datatype(config, given.name, given.data_type, by_name[given.name], word="input")


def _unexpected(word: str, name: str, allowed: Iterable[str]) -> InvalidRequest:
    return InvalidRequest(
        f"unexpected inference {word} '{name}', allowed {word}s are: {', '.join(sorted(allowed))}"
    )


def _check_datatype(
    config: TritonConfig, name: str, data_type: str, declared: DeclaredTensor, *, word: str
) -> None:
    provided = declared.datatype.config_name
    if data_type and data_type != provided:
        raise InvalidRequest(
            f"unable to load model '{config.name}', configuration expects datatype {data_type} for"
            f" {word} '{name}', model provides {provided}"
        )


def _check_all(
    config: TritonConfig, given: Sequence[Any], declared: Sequence[DeclaredTensor], *, word: str
) -> None:
    by_name = {tensor.name: tensor for tensor in declared}
    for tensor in given:
        if tensor.name not in by_name:
            raise _unexpected(word, tensor.name, by_name)
        _check_one(config, tensor, by_name[tensor.name], word=word)


def _check_one(config: TritonConfig, tensor: Any, declared: DeclaredTensor, *, word: str) -> None:  # noqa: ANN401
    _check_datatype(config, tensor.name, tensor.data_type, declared, word=word)
    rows = BatchTensors.of(config)
    if word == "output" and tensor.name in rows.outputs:
        return  # one row, whatever the shapes of its parts
    if word == "input" and tensor.name in rows.ragged:
        _check_ragged(config, tensor, declared)
        return
    dims = tensor.model_dims
    shape = (ANY_SIZE, *dims) if config.max_batch_size > 0 else dims
    if not _fits(shape, declared.shape):
        raise InvalidRequest(
            f"model '{config.name}', tensor '{tensor.name}': the model expects"
            f" {len(declared.shape)} dimensions (shape {_text(declared.shape)}) but the model"
            f" configuration specifies {len(shape)} dimensions (shape {_text(shape)})"
        )


def _check_ragged(config: TritonConfig, tensor: ModelInput, declared: DeclaredTensor) -> None:
    start = (
        f"unable to load model '{config.name}', configuration expects model provides input with"
        " shape [-1] "
    )
    if tensor.optional:
        raise InvalidRequest(
            f"{start}for ragged input '{tensor.name}', which is not supported for optional input"
        )
    if declared.shape != (ANY_SIZE,):
        raise InvalidRequest(
            f"{start} for ragged input '{tensor.name}', model provides {_text(declared.shape)}"
        )


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    """Say whether sizes agree; any size goes with all."""
    return len(shape) == len(declared) and all(
        ANY_SIZE in {one, other} or one == other for one, other in zip(shape, declared, strict=True)
    )


def _text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
