"""The whole configuration to the part that decides how mpserve runs the model. Pure."""

from typing import Final

from msgspec import UNSET

from mpserve.model.config import (
    BatchingPolicy,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    QueuePolicies,
    QueuePolicy,
    ResourceNeed,
)
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.execution_limit import execution_limit
from mpserve.model.identity import ModelName, Version
from mpserve.model.memory_limit import memory_limit
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.model.triton.config import InstanceGroupConfig, ModelInput, ModelOutput, TritonConfig
from mpserve.model.triton.metric_control import first_response_bounds
from mpserve.model.triton.scheduling_config import QueuePolicyConfig
from mpserve.model.triton.sequence_summary import sequence_policy

ENVIRONMENT_PARAMETER: Final = "EXECUTION_ENV_PATH"
ALLOCATOR_PARAMETER: Final = "MPSERVE_ALLOCATOR"
EXECUTION_LIMIT_PARAMETER: Final = "MPSERVE_MAX_EXECUTION_SECONDS"
MEMORY_LIMIT_PARAMETER: Final = "MPSERVE_MEMORY_LIMIT_MIB"


def summarize(config: TritonConfig) -> ModelConfig:
    """Return what the server itself reads of a normalized configuration.

    A datatype or shape that is not declared (yet) is `None`. Whether a model that declares nothing
    takes anything is for its runtime to say.
    """
    batches = config.max_batch_size > 0
    return ModelConfig(
        platform=config.platform or config.backend,
        backend=config.backend,
        ensemble=_ensemble(config),
        signature=Signature(
            inputs=tuple(_spec(tensor, batches=batches) for tensor in config.input),
            outputs=tuple(_spec(tensor, batches=batches) for tensor in config.output),
            max_batch_size=config.max_batch_size,
        ),
        instance_groups=tuple(
            InstanceGroup(
                name=group.name,
                kind=InstanceKind.CPU if group.kind is InstanceKind.AUTO else group.kind,
                count=max(group.count, 1),
                passive=group.passive,
                host_policy=group.host_policy,
                resources=_resources(group),
                priority=0 if group.rate_limiter is UNSET else group.rate_limiter.priority,
            )
            for group in config.instance_group
        ),
        batching=_batching(config),
        queue_policies=_queue_policies(config),
        sequences=sequence_policy(config),
        decoupled=config.model_transaction_policy is not UNSET
        and config.model_transaction_policy.decoupled,
        default_model_filename=config.default_model_filename,
        parameters={name: value.string_value for name, value in config.parameters.items()},
        environment=_parameter(config, ENVIRONMENT_PARAMETER),
        allocator=_parameter(config, ALLOCATOR_PARAMETER),
        max_execution_seconds=execution_limit(
            _parameter(config, EXECUTION_LIMIT_PARAMETER) or "0",
            where=f"parameter '{EXECUTION_LIMIT_PARAMETER}' for {config.name}",
        ),
        memory_limit_mib=memory_limit(
            _parameter(config, MEMORY_LIMIT_PARAMETER) or "0",
            where=f"parameter '{MEMORY_LIMIT_PARAMETER}' for {config.name}",
        ),
        first_response_bounds_ms=first_response_bounds(config),
        label_files={
            output.name: output.label_filename for output in config.output if output.label_filename
        },
    )


def _resources(group: InstanceGroupConfig) -> tuple[ResourceNeed, ...]:
    if group.rate_limiter is UNSET:
        return ()
    return tuple(
        ResourceNeed(name=resource.name, count=resource.count, is_global=resource.global_)
        for resource in group.rate_limiter.resources
        if resource.count > 0
    )


def _parameter(config: TritonConfig, name: str) -> str:
    value = config.parameters.get(name)
    return "" if value is None else value.string_value


def _ensemble(config: TritonConfig) -> Ensemble | None:
    scheduling = config.ensemble_scheduling
    if scheduling is UNSET:
        return None
    return Ensemble(
        steps=tuple(
            Step(
                model=ModelName(step.model_name),
                # Triton takes any negative number for the latest, and has 0 for one not given.
                version=Version(str(step.model_version) if step.model_version > 0 else ""),
                inputs=step.input_map,
                outputs=step.output_map,
            )
            for step in scheduling.step
        ),
        max_inflight_requests=scheduling.max_inflight_requests,
    )


def _spec(tensor: ModelInput | ModelOutput, *, batches: bool) -> TensorSpec:
    declared = tensor.data_type != "TYPE_INVALID"
    return TensorSpec(
        name=tensor.name,
        datatype=Datatype.from_config_name(tensor.data_type) if declared else None,
        shape=((-1, *tensor.dims) if batches else tensor.dims) if tensor.dims else None,
        optional=isinstance(tensor, ModelInput) and tensor.optional,
        ragged=isinstance(tensor, ModelInput) and tensor.allow_ragged_batch,
        model_shape=_model_shape(tensor, batches=batches),
    )


def _model_shape(tensor: ModelInput | ModelOutput, *, batches: bool) -> tuple[int, ...] | None:
    if tensor.reshape is UNSET or not tensor.dims:
        return None
    shape = tensor.reshape.shape
    return (-1, *shape) if batches else shape


def _batching(config: TritonConfig) -> BatchingPolicy | None:
    batching = config.dynamic_batching
    if batching is UNSET:
        return None
    return BatchingPolicy(
        preferred_sizes=tuple(sorted(set(batching.preferred_batch_size))),
        max_delay_us=batching.max_queue_delay_microseconds,
        preserve_ordering=batching.preserve_ordering,
    )


def _queue_policies(config: TritonConfig) -> QueuePolicies:
    batching = config.dynamic_batching
    if batching is UNSET:
        return QueuePolicies()
    general = batching.default_queue_policy
    return QueuePolicies(
        priority_levels=batching.priority_levels,
        default_level=batching.default_priority_level,
        general=QueuePolicy() if general is UNSET else _queue_policy(general),
        by_level={
            int(level): _queue_policy(policy)
            for level, policy in batching.priority_queue_policy.items()
        },
    )


def _queue_policy(policy: QueuePolicyConfig) -> QueuePolicy:
    return QueuePolicy(
        max_queue_size=policy.max_queue_size,
        default_timeout_us=policy.default_timeout_microseconds,
        allow_timeout_override=policy.allow_timeout_override,
        delay_on_timeout=policy.timeout_action == "DELAY",
    )
