"""Checks of the tensors that are added to a batch and taken out of it. Pure.

Source: Triton's validation messages, word by word; and its backends, which read the first target
and the first source only.
"""

from collections.abc import Mapping

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import (
    BatchInput,
    BatchOutput,
    ModelInput,
    ModelOutput,
    TritonConfig,
)

VALUE_TYPES = frozenset({"TYPE_INT32", "TYPE_FP32"})
"""What an input that tells of a batch may be."""


def check_batch_tensors(config: TritonConfig) -> None:
    """Check `batch_input` and `batch_output` against the inputs and outputs.

    Raises
    ------
    InvalidRequest
        With the first message of Triton's that applies.
    """
    inputs = {tensor.name: tensor for tensor in config.input}
    outputs = {tensor.name: tensor for tensor in config.output}
    for one in config.batch_input:
        _check_sources(config, one, inputs, word="input")
        if one.data_type not in VALUE_TYPES:
            raise _fault(config, "batch input data type must be TYPE_INT32 or TYPE_FP32")
    for other in config.batch_output:
        _check_sources(config, other, inputs, word="output")
        source = inputs[other.source_input[0]]
        for name in other.target_name:
            _check_target(config, name, outputs.get(name), source)


def _check_sources(
    config: TritonConfig,
    one: BatchInput | BatchOutput,
    inputs: Mapping[str, ModelInput],
    *,
    word: str,
) -> None:
    count = len(one.source_input)
    if count != 1:
        raise _fault(config, f"batch {word} kind '{one.kind}' expects 1 source input, got {count}")
    if one.source_input[0] not in inputs:
        raise _fault(config, f"unknown source input name '{one.source_input[0]}'")
    if not one.target_name:
        raise _fault(config, f"batch {word} kind '{one.kind}' must have a 'target_name'")


def _check_target(
    config: TritonConfig, name: str, target: ModelOutput | None, source: ModelInput
) -> None:
    if target is None:
        raise _fault(config, f"unknown target output name '{name}'")
    sizes = target.model_dims[len(source.model_dims) :]
    if -1 in sizes:  # Triton reads beyond the end of the input's shape
        raise _fault(
            config,
            f"batch output '{name}' has free sizes that its source input '{source.name}' does not"
            f" tell: it has {len(source.model_dims)} dimensions",
        )


def _fault(config: TritonConfig, message: str) -> InvalidRequest:
    return InvalidRequest(f"{message} for {config.name}")
