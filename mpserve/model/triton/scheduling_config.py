"""Scheduling in Triton's `ModelConfig`: queues, batches, sequences and ensembles. Shapes only.

Source: Triton `model_config.proto`.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from mpserve.model.triton.config_message import ConfigMessage, DataTypeName


class QueuePolicyConfig(ConfigMessage, frozen=True, kw_only=True):
    """Bounds of a queue."""

    timeout_action: Literal["REJECT", "DELAY"] = "REJECT"
    default_timeout_microseconds: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0


class DynamicBatching(ConfigMessage, frozen=True, kw_only=True):
    """Batches put together from requests."""

    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority_level: int = 0
    default_queue_policy: QueuePolicyConfig | UnsetType = UNSET
    priority_queue_policy: dict[str, QueuePolicyConfig] = msgspec.field(default_factory=dict)


class SequenceDirect(ConfigMessage, frozen=True, kw_only=True):
    """Each sequence has a row of the batch of its own."""

    max_queue_delay_microseconds: int = 0
    minimum_slot_utilization: float = 0.0


class SequenceOldest(ConfigMessage, frozen=True, kw_only=True):
    """Requests of the oldest sequences are batched."""

    max_candidate_sequences: int = 0
    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    preserve_ordering: bool = False


class SequenceControl(ConfigMessage, frozen=True, kw_only=True):
    """What a control tensor tells."""

    kind: Literal[
        "CONTROL_SEQUENCE_START",
        "CONTROL_SEQUENCE_READY",
        "CONTROL_SEQUENCE_END",
        "CONTROL_SEQUENCE_CORRID",
    ] = "CONTROL_SEQUENCE_START"
    int32_false_true: tuple[int, ...] = ()
    fp32_false_true: tuple[float, ...] = ()
    bool_false_true: tuple[bool, ...] = ()
    data_type: DataTypeName = "TYPE_INVALID"


class SequenceControlInput(ConfigMessage, frozen=True, kw_only=True):
    """A control tensor."""

    name: str = ""
    control: tuple[SequenceControl, ...] = ()


class SequenceInitialState(ConfigMessage, frozen=True, kw_only=True):
    """First value of an implicit state; one of `zero_data` and `data_file`."""

    data_type: DataTypeName = "TYPE_INVALID"
    dims: tuple[int, ...] = ()
    zero_data: bool | UnsetType = UNSET
    data_file: str | UnsetType = UNSET
    name: str = ""


class SequenceState(ConfigMessage, frozen=True, kw_only=True):
    """An implicit state."""

    input_name: str = ""
    output_name: str = ""
    data_type: DataTypeName = "TYPE_INVALID"
    dims: tuple[int, ...] = ()
    initial_state: tuple[SequenceInitialState, ...] = ()
    use_same_buffer_for_input_output: bool = False
    use_growable_memory: bool = False


class SequenceBatching(ConfigMessage, frozen=True, kw_only=True):
    """Requests belong to sequences; at most one of `direct` and `oldest`."""

    direct: SequenceDirect | UnsetType = UNSET
    oldest: SequenceOldest | UnsetType = UNSET
    max_sequence_idle_microseconds: int = 0
    control_input: tuple[SequenceControlInput, ...] = ()
    state: tuple[SequenceState, ...] = ()
    iterative_sequence: bool = False


class EnsembleStep(ConfigMessage, frozen=True, kw_only=True):
    """One model of an ensemble."""

    model_name: str = ""
    model_version: int = 0
    input_map: dict[str, str] = msgspec.field(default_factory=dict)
    output_map: dict[str, str] = msgspec.field(default_factory=dict)
    model_namespace: str = ""


class EnsembleScheduling(ConfigMessage, frozen=True, kw_only=True):
    """The graph of an ensemble."""

    step: tuple[EnsembleStep, ...] = ()
    max_inflight_requests: int = 0
