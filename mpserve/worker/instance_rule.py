"""What an instance may take and answer, from the completed configuration. Pure."""

from typing import Final

from mpserve.control.messages import WorkerStart
from mpserve.model.config import ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.sequence import SequencePolicy
from mpserve.shm.instance_port import BatchRule, InstanceRule

# A Triton model parses the text whatever the client sent.
_ABSENT_PARAMETERS: Final = {ConfigFormat.TRITON: "{}", ConfigFormat.MLSERVER: ""}


def instance_rule(start: WorkerStart, config: ModelConfig) -> InstanceRule:
    """Return the rule of an instance of a model with the completed configuration `config`."""
    signature = config.signature
    return InstanceRule(
        instance_name=start.instance_name,
        model_name=start.instance.name,
        model_version=start.instance.version,
        output_names=tuple(output.name for output in signature.outputs),
        open_outputs=signature.open_outputs,
        absent_parameters=_ABSENT_PARAMETERS[start.format],
        batch=batch_rule(config),
        decoupled=config.decoupled,
        # The answers of a decoupled model have no order of their own.
        ordered=config.batching is not None
        and config.batching.preserve_ordering
        and not config.decoupled,
        batches=signature.max_batch_size > 0,
        controls=config.sequences.controls if config.sequences is not None else (),
        sequence_slots=config.sequences.slots if config.sequences is not None else 0,
        state_outputs=tuple(
            state.output_name
            for state in (config.sequences.states if config.sequences is not None else ())
        ),
        input_reshapes=tuple(
            (spec.name, spec.shape, spec.model_shape)
            for spec in signature.inputs
            if spec.shape is not None and spec.model_shape is not None
        ),
        output_reshapes=tuple(
            (spec.name, spec.model_shape, spec.shape)
            for spec in signature.outputs
            if spec.shape is not None and spec.model_shape is not None
        ),
    )


def batch_rule(config: ModelConfig) -> BatchRule:
    """Return how waiting requests are put together for one execution.

    Without a batching policy each request is executed alone, as in Triton; one that brings several
    rows is one execution of them.
    """
    rows = max(config.signature.max_batch_size, 1)
    if config.sequences is not None:
        return _sequence_rule(config.sequences, rows=rows)
    policy = config.batching
    if policy is None:
        return BatchRule(max_requests=1, max_rows=rows)
    requests = policy.max_requests or rows
    return BatchRule(
        max_requests=requests,
        max_rows=max(rows, requests),
        preferred_rows=policy.preferred_sizes,
        max_delay_us=policy.max_delay_us,
    )


def _sequence_rule(policy: SequencePolicy, *, rows: int) -> BatchRule:
    return BatchRule(
        max_requests=policy.slots if policy.is_direct else rows,
        max_rows=rows,
        preferred_rows=policy.preferred_sizes,
        max_delay_us=policy.max_delay_us,
        ready_slots=policy.ready_slots if policy.is_direct else 0,
    )
