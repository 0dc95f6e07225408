"""Checks of a normalized configuration. Pure.

Source: Triton's validation messages, word by word.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET

from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.config import MAX_INSTANCES, InstanceKind
from mpserve.model.triton.batch_validation import check_batch_tensors
from mpserve.model.triton.config import ModelInput, ModelOutput, TritonConfig
from mpserve.model.triton.ensemble_validation import check_ensemble
from mpserve.model.triton.metric_control import check_metric_control
from mpserve.model.triton.normalization import BACKEND_RULES, ENSEMBLE
from mpserve.model.triton.scheduling_config import DynamicBatching
from mpserve.model.triton.sequence_validation import check_sequence

PLATFORMS_OF: Final = {
    rule.backend: frozenset(
        platform
        for other in BACKEND_RULES
        if other.backend == rule.backend
        for platform in other.platforms
    )
    for rule in BACKEND_RULES
    if rule.platform
}
"""Platforms that go with a backend, for backends that have platforms."""

REFUSED_FIELDS: Final = ("model_repository_agents",)
"""Fields without which the model would answer wrongly, and that are not served."""

BATCH_TENSOR_FIELDS: Final = ("batch_input", "batch_output")
"""Tensors that the peer's backends add to a batch or take out of it."""

BATCH_TENSOR_BACKENDS: Final = frozenset({"onnxruntime", "pytorch", "python"})
"""Backends whose models may have them; Python's does not look at them, as the peer's."""


def validate(config: TritonConfig) -> None:
    """Check everything but inputs, outputs and instance groups.

    Raises
    ------
    InvalidRequest
        With the first message of Triton's that applies.
    """
    if not config.name:
        raise InvalidRequest("model configuration must specify 'name'")
    _check_backend(config)
    if config.max_batch_size < 0:
        raise InvalidRequest(f"'max_batch_size' must be non-negative value for {config.name}")
    if config.dynamic_batching is not UNSET:
        _check_dynamic_batching(config, config.dynamic_batching)
    check_sequence(config)
    check_ensemble(config)
    check_metric_control(config)
    _check_cache(config)


def validate_tensors(config: TritonConfig) -> None:
    """Check inputs and outputs: at the scan when nothing completes them, else after completion.

    Raises
    ------
    InvalidRequest
        With the first message of Triton's that applies.
    """
    for tensor in config.input:
        for message in _input_faults(tensor):
            raise InvalidRequest(f"{message} for {config.name}")
        _check_tensor(config, tensor, prefix="model input ")
    for output in config.output:
        _check_tensor(config, output, prefix="model output ")
    check_batch_tensors(config)


def validate_instance_groups(config: TritonConfig, *, gpus: tuple[int, ...]) -> None:
    """Check the groups against the devices of the machine.

    Raises
    ------
    InvalidRequest
        With the first message of Triton's that applies, or there are more than a queue can have.
    """
    count = sum(group.count for group in config.instance_group)
    if count > MAX_INSTANCES:
        raise InvalidRequest(
            f"model {config.name} has {count} instances in its instance groups, at most "
            f"{MAX_INSTANCES} are supported"
        )
    for group in config.instance_group:
        where = f"instance group {group.name} of model {config.name} has kind {group.kind.value}"
        if group.kind is InstanceKind.GPU and not gpus:
            raise InvalidRequest(f"{where} but server does not support GPUs")
        unknown = sorted(set(group.gpus).difference(gpus))
        if group.kind is InstanceKind.GPU and unknown:
            raise InvalidRequest(
                f"{where} and specifies invalid or unsupported gpu id {unknown[0]}"
            )
        if group.kind is not InstanceKind.GPU and group.gpus:
            raise InvalidRequest(f"{where} but specifies one or more GPUs")
        if group.secondary_devices:
            raise InvalidRequest(
                f"instance group {group.name} of model {config.name} specifies secondary devices, "
                "which this server does not have; remove 'secondary_devices'"
            )


def validate_file_names(config: TritonConfig) -> None:
    """Check that the model's file and label files stay within the model directory.

    Raises
    ------
    Unsupported
        When one does not.
    """
    if _leads_out(config.default_model_filename):
        raise Unsupported(
            f"'default_model_filename' '{config.default_model_filename}' of model '{config.name}' "
            "is outside version directory"
        )
    for output in config.output:
        path = output.label_filename
        if _leads_out(path):
            raise Unsupported(
                f"label file path '{path}' for output '{output.name}' in model '{config.name}' "
                "is outside model directory"
            )


def refuse_unserved(config: TritonConfig) -> None:
    """Refuse a valid configuration that this server would serve wrongly.

    Raises
    ------
    Unsupported
        Naming the first such field.
    """
    for field in REFUSED_FIELDS:
        if getattr(config, field) is not UNSET:
            raise Unsupported(f"'{field}' of model '{config.name}' is not supported by this server")
    for field in BATCH_TENSOR_FIELDS:
        if getattr(config, field) and config.backend not in BATCH_TENSOR_BACKENDS:
            raise Unsupported(
                f"'{field}' of model '{config.name}' is not supported by this server; "
                "only the backends 'onnxruntime' and 'pytorch' act by it"
            )


def _leads_out(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/") or "\0" in path


# --- backend and batching -----------------------------------------------------------------------


def _check_backend(config: TritonConfig) -> None:
    if config.platform == ENSEMBLE:
        if config.backend:
            raise InvalidRequest(
                f"Ensemble model '{config.name}' must have platform type 'ensemble' and empty "
                "backend type"
            )
        return
    if not config.backend and config.ensemble_scheduling is UNSET:
        raise InvalidRequest(f"unexpected platform type '{config.platform}' for {config.name}")
    platforms = PLATFORMS_OF.get(config.backend)
    if platforms and config.platform and config.platform not in platforms:
        raise InvalidRequest(
            f"unexpected 'platform' and 'backend' pair, got:{config.platform}, {config.backend}"
        )


def _check_dynamic_batching(config: TritonConfig, batching: DynamicBatching) -> None:
    for size in batching.preferred_batch_size:
        if size <= 0:
            raise InvalidRequest(
                f"dynamic batching preferred size must be positive for {config.name}"
            )
        if size > config.max_batch_size:
            raise InvalidRequest(
                f"dynamic batching preferred size must be <= max batch size for {config.name}"
            )
    _check_priorities(config, batching)
    _check_ordering(config, batching)


def _check_priorities(config: TritonConfig, batching: DynamicBatching) -> None:
    levels = batching.priority_levels
    if not levels:
        return
    if not 1 <= batching.default_priority_level <= levels:
        raise InvalidRequest(
            f"default priority level must be in range [1, {levels}] for {config.name}"
        )
    if any(not 1 <= int(level) <= levels for level in batching.priority_queue_policy):
        raise InvalidRequest(
            f"priority queue policy must have priority level in range [1, {levels}] "
            f"for {config.name}"
        )


def _check_ordering(config: TritonConfig, batching: DynamicBatching) -> None:
    if not batching.preserve_ordering:
        return
    if batching.priority_levels > 1:
        raise InvalidRequest(
            f"Only one priority level is allowed when 'preserve_ordering' is true for {config.name}"
        )
    policies = [*batching.priority_queue_policy.values()]
    if batching.default_queue_policy is not UNSET:
        policies.append(batching.default_queue_policy)
    if any(
        policy.default_timeout_microseconds and policy.timeout_action == "DELAY"
        for policy in policies
    ):
        raise InvalidRequest(
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true "
            f"for {config.name}"
        )


def _check_cache(config: TritonConfig) -> None:
    if config.response_cache is UNSET or not config.response_cache.enable:
        return
    start = f"Response Cache does not currently support model {config.name}"
    if config.sequence_batching is not UNSET:
        raise InvalidRequest(
            f"{start} with sequence batching scheduler. Please disable the response cache."
        )
    if config.model_transaction_policy is not UNSET and config.model_transaction_policy.decoupled:
        raise InvalidRequest(
            f"{start} with 'decoupled' transaction policy. Please disable the response cache."
        )


# --- inputs and outputs -------------------------------------------------------------------------


def _input_faults(tensor: ModelInput) -> Iterator[str]:
    if tensor.format != "FORMAT_NONE" and len(tensor.dims) != 3:
        yield "model input NHWC/NCHW require 3 dims"


def _check_tensor(config: TritonConfig, tensor: ModelInput | ModelOutput, *, prefix: str) -> None:
    for message in _tensor_faults(tensor, batches=config.max_batch_size > 0):
        raise InvalidRequest(f"{prefix}{message} for {config.name}")
    if tensor.is_shape_tensor:
        raise InvalidRequest(
            f"{prefix}shape tensors are only supported for TensorRT platform for {config.name}"
        )
    if tensor.is_non_linear_format_io:
        raise InvalidRequest(
            f"{prefix}non-linear IO formats are only supported for TensorRT platform for "
            f"{config.name}"
        )


def _tensor_faults(tensor: ModelInput | ModelOutput, *, batches: bool) -> Iterator[str]:
    """Yield what is wrong, the most important first."""
    if not tensor.name:
        yield "must specify 'name'"
    if tensor.data_type == "TYPE_INVALID":
        yield f"'{tensor.name}' must specify 'data_type'"
    if not tensor.dims:
        yield f"'{tensor.name}' must specify 'dims'"
    if not all(_is_dimension(size) for size in tensor.dims):
        yield (
            f"'{tensor.name}' dimension must be integer >= 1, or -1 to indicate a variable-size "
            "dimension"
        )
    if tensor.reshape is not UNSET:
        yield from _reshape_faults(tensor, tensor.reshape.shape, batches=batches)


def _reshape_faults(
    tensor: ModelInput | ModelOutput, shape: tuple[int, ...], *, batches: bool
) -> Iterator[str]:
    if not shape and not batches:
        yield (
            f"'{tensor.name}' cannot have empty reshape for non-batching model as scalar tensors "
            "are not supported"
        )
    if not all(_is_dimension(size) for size in shape):
        yield (
            f"'{tensor.name}' reshape dimensions must be integer >= 1, or -1 to indicate a "
            "variable-size dimension"
        )
    before, after = _Elements.of(tensor.dims), _Elements.of(shape)
    if before.variable == 0 == after.variable and before.fixed != after.fixed:
        yield f"'{tensor.name}' has different size for dims and reshape"
    if before.variable != after.variable:
        yield (
            f"'{tensor.name}' has different number of variable-size dimensions for dims and reshape"
        )


class _Elements(msgspec.Struct, frozen=True, kw_only=True):
    """Size of a shape: the product of its fixed dimensions, and the number of free ones."""

    fixed: int
    variable: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "_Elements":
        fixed = 1
        for size in shape:
            fixed *= 1 if size == -1 else size
        return cls(fixed=fixed, variable=shape.count(-1))


def _is_dimension(size: int) -> bool:
    return size >= 1 or size == -1
