"""From `sequence_batching` of a configuration to how sequences are served. Pure."""

import math
import struct
from typing import Final

from msgspec import UNSET

from mpserve.model.sequence import ControlKind, SequenceControl, SequencePolicy, SequenceState
from mpserve.model.tensor import Datatype
from mpserve.model.triton.config import TritonConfig
from mpserve.model.triton.scheduling_config import SequenceBatching
from mpserve.model.triton.scheduling_config import SequenceControl as ControlMessage
from mpserve.model.triton.scheduling_config import SequenceState as StateMessage

_PAIRS: Final = {
    "int32_false_true": (Datatype.INT32, struct.Struct("<i")),
    "fp32_false_true": (Datatype.FP32, struct.Struct("<f")),
    "bool_false_true": (Datatype.BOOL, struct.Struct("<?")),
}


def sequence_policy(config: TritonConfig) -> SequencePolicy | None:
    """Return how sequences are served; `None` for a model without them."""
    sequence = config.sequence_batching
    if sequence is UNSET:
        return None
    rows = max(config.max_batch_size, 1)
    controls = tuple(
        _control(each.name, control) for each in sequence.control_input for control in each.control
    )
    states = tuple(_state(state, batches=config.max_batch_size > 0) for state in sequence.state)
    oldest = sequence.oldest
    if oldest is not UNSET:
        return SequencePolicy(
            slots=oldest.max_candidate_sequences if oldest.max_candidate_sequences > 0 else rows,
            idle_us=sequence.max_sequence_idle_microseconds,
            is_direct=False,
            max_delay_us=oldest.max_queue_delay_microseconds,
            preferred_sizes=tuple(sorted(set(oldest.preferred_batch_size))),
            controls=controls,
            states=states,
            is_iterative=sequence.iterative_sequence,
        )
    ready_slots, delay_us = _direct_wait(sequence, rows=rows)
    return SequencePolicy(
        slots=rows,
        idle_us=sequence.max_sequence_idle_microseconds,
        ready_slots=ready_slots,
        max_delay_us=delay_us,
        controls=controls,
        states=states,
        is_iterative=sequence.iterative_sequence,
    )


def _direct_wait(sequence: SequenceBatching, *, rows: int) -> tuple[int, int]:
    """Return the slots that are waited for, and for how long; the delay counts only with both."""
    direct = sequence.direct
    if direct is UNSET or direct.minimum_slot_utilization <= 0:
        return 1, 0
    wanted = math.ceil(direct.minimum_slot_utilization * rows)
    return max(wanted, 1), direct.max_queue_delay_microseconds


def _control(name: str, control: ControlMessage) -> SequenceControl:
    kind = ControlKind(control.kind)
    for field, (datatype, element) in _PAIRS.items():
        pair = getattr(control, field)
        if pair:
            when_false, when_true = (element.pack(value) for value in pair)
            return SequenceControl(
                name=name, kind=kind, datatype=datatype, when_false=when_false, when_true=when_true
            )
    datatype = Datatype.from_config_name(control.data_type)
    return SequenceControl(name=name, kind=kind, datatype=datatype)


def _state(state: StateMessage, *, batches: bool) -> SequenceState:
    """Return a state; one without a first value starts with zeros, of size 1 where it may vary."""
    rows = (1,) if batches else ()
    first = next(iter(state.initial_state), None)
    first_file = first.data_file if first is not None else UNSET
    dims = first.dims if first is not None else tuple(abs(size) for size in state.dims)
    return SequenceState(
        input_name=state.input_name,
        output_name=state.output_name,
        datatype=Datatype.from_config_name(state.data_type),
        shape=(*rows, *state.dims),
        first_shape=(*rows, *dims),
        first_file=first_file or "",
        is_shared=state.use_same_buffer_for_input_output,
    )
