"""Checks of `sequence_batching`. Pure. Source: Triton's validation messages, word by word."""

from typing import Final

from msgspec import UNSET

from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.triton.config import (
    SequenceBatching,
    SequenceControl,
    SequenceState,
    TritonConfig,
)

CORRELATION: Final = "CONTROL_SEQUENCE_CORRID"
CORRELATION_TYPES: Final = frozenset(
    {"TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING"}
)
PAIRS: Final = ("int32_false_true", "fp32_false_true", "bool_false_true")


def check_sequence(config: TritonConfig) -> None:
    """Check the sequence batcher's options, if there is one.

    Raises
    ------
    InvalidRequest
        With the first message of Triton's that applies.
    """
    sequence = config.sequence_batching
    if sequence is UNSET:
        return
    _check_oldest(config, sequence)
    _check_direct(config, sequence)
    _check_controls(config, sequence)
    _check_states(sequence)


def refuse_unserved_sequences(config: TritonConfig) -> None:
    """Refuse what is valid and would be served wrongly.

    Raises
    ------
    Unsupported
        Naming the first such field.
    """
    sequence = config.sequence_batching
    if sequence is UNSET:
        return
    where = f"of model '{config.name}' is not supported by this server"
    if sequence.iterative_sequence:
        raise Unsupported(f"'sequence_batching.iterative_sequence' {where}")
    if sequence.state:
        raise Unsupported(f"'sequence_batching.state' {where}")


def _check_oldest(config: TritonConfig, sequence: SequenceBatching) -> None:
    if sequence.oldest is UNSET:
        return
    for size in sequence.oldest.preferred_batch_size:
        if size <= 0:
            raise InvalidRequest(
                f"sequence batching preferred batch size must be positive for {config.name}"
            )
        if size > config.max_batch_size:
            raise InvalidRequest(
                "sequence batching preferred batch size must be <= max batch size "
                f"for {config.name}"
            )


def _check_direct(config: TritonConfig, sequence: SequenceBatching) -> None:
    if sequence.direct is UNSET or not sequence.direct.max_queue_delay_microseconds:
        return
    if not 0.0 <= sequence.direct.minimum_slot_utilization <= 1.0:
        raise InvalidRequest(
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] "
            f"for {config.name}"
        )


def _check_controls(config: TritonConfig, sequence: SequenceBatching) -> None:
    tensors: set[str] = set()
    kinds: set[str] = set()
    for control_input in sequence.control_input:
        if not control_input.name:
            raise InvalidRequest(
                f"sequence batching control tensor must have a name for {config.name}"
            )
        if control_input.name in tensors or len(control_input.control) > 1:
            raise InvalidRequest(
                f"sequence batching control tensor '{control_input.name}' is specified for "
                f"multiple control kinds for {config.name}"
            )
        tensors.add(control_input.name)
        for control in control_input.control:
            if control.kind in kinds:
                raise InvalidRequest(
                    f"sequence batching specifies multiple {control.kind} tensors for {config.name}"
                )
            kinds.add(control.kind)
            _check_control(control, f"{control.kind} for {config.name}")


def _check_states(sequence: SequenceBatching) -> None:
    names: set[str] = set()
    for state in sequence.state:
        if state.input_name in names:
            raise InvalidRequest(f"State input name '{state.input_name}' specified more than once.")
        names.add(state.input_name)
        _check_initial_state(state)


def _check_initial_state(state: SequenceState) -> None:
    where = f"state input '{state.input_name}'"
    found = len(state.initial_state)
    if found > 1:
        raise InvalidRequest(
            f"initial_state field for {where} must contain exactly one or zero element. "
            f"Found '{found}' elements."
        )
    for initial in state.initial_state:
        if not initial.name:
            raise InvalidRequest(f"Field 'name' must be set when using initial_state for {where}.")
        if initial.data_type != state.data_type:
            raise InvalidRequest(
                "The data type used for 'initial_state' field of state "
                f"'{state.input_name}' does not match the state data type."
            )
        if initial.data_file is UNSET and initial.zero_data is UNSET:
            raise InvalidRequest(f"initial_state of {where} must have zero_data or data_file set")


def _check_control(control: SequenceControl, where: str) -> None:
    given = [field for field in PAIRS if getattr(control, field)]
    words = "'int32_false_true', 'fp32_false_true' and 'bool_false_true'"
    choice = "'int32_false_true', 'fp32_false_true' or 'bool_false_true'"
    if control.kind == CORRELATION:
        if given:
            raise InvalidRequest(f"sequence batching must not specify either {choice} for {where}")
        if control.data_type not in CORRELATION_TYPES:
            raise InvalidRequest(
                f"unexpected data type for control {where}. Allowed data types are "
                "TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING"
            )
        return
    if not given:
        raise InvalidRequest(f"sequence batching must specify either {choice} for {where}")
    if len(given) > 1:
        raise InvalidRequest(f"sequence batching specifies more than one from {words} for {where}")
    if len(getattr(control, given[0])) != 2:
        raise InvalidRequest(
            f"sequence batching control '{given[0]}' must have exactly 2 entries for {where}"
        )
