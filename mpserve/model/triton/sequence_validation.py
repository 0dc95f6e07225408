"""Checks of `sequence_batching`. Pure. Source: Triton's validation messages, word by word."""

from typing import Final

from msgspec import UNSET

from mpserve.errors import InvalidRequest
from mpserve.model.config import InstanceKind
from mpserve.model.triton.config import TritonConfig
from mpserve.model.triton.scheduling_config import (
    SequenceBatching,
    SequenceControl,
    SequenceInitialState,
    SequenceState,
)

CORRELATION: Final = "CONTROL_SEQUENCE_CORRID"
CORRELATION_TYPES: Final = frozenset(
    {"TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING"}
)
ANY_SIZE: Final = -1
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
    _check_states(config, sequence)


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


def _check_states(config: TritonConfig, sequence: SequenceBatching) -> None:
    inputs: set[str] = set()
    outputs: set[str] = set()
    for state in sequence.state:
        if state.input_name in inputs:
            raise InvalidRequest(f"State input name '{state.input_name}' specified more than once.")
        inputs.add(state.input_name)
        _check_initial_state(state, f"state input '{state.input_name}'")
    for state in sequence.state:
        _check_state(config, state, f"state input '{state.input_name}'")
        if state.output_name in outputs:
            raise InvalidRequest(
                f"State output name '{state.output_name}' specified more than once."
            )
        outputs.add(state.output_name)
        _check_growth(config, state)


def _check_state(config: TritonConfig, state: SequenceState, where: str) -> None:
    if not state.input_name or not state.output_name:
        raise InvalidRequest(
            f"sequence batching state must specify 'input_name' and 'output_name' for {config.name}"
        )
    if state.data_type in {"TYPE_INVALID", "TYPE_BF16"}:
        raise InvalidRequest(
            f"{where} must specify a 'data_type' other than TYPE_BF16 for {config.name}"
        )
    if not state.dims or any(size < 1 and size != ANY_SIZE for size in state.dims):
        raise InvalidRequest(
            f"{where} must specify 'dims' of sizes >= 1, or -1 for any, for {config.name}"
        )


def _check_initial_state(state: SequenceState, where: str) -> None:
    found = len(state.initial_state)
    if found > 1:
        raise InvalidRequest(
            f"initial_state field for {where} must contain exactly one or zero element. "
            f"Found '{found}' elements."
        )
    for initial in state.initial_state:
        if initial.data_type != state.data_type:
            raise InvalidRequest(
                "The data type used for 'initial_state' field of state "
                f"'{state.input_name}' does not match the state data type."
            )
        if not initial.name:
            raise InvalidRequest(f"Field 'name' must be set when using initial_state for {where}.")
        _check_initial_dims(state, initial)
        if initial.data_file is UNSET and initial.zero_data is UNSET:
            raise InvalidRequest(f"initial_state of {where} must have zero_data or data_file set")
        path = initial.data_file or ""
        if path.startswith("/") or ".." in path.split("/"):
            raise InvalidRequest(
                f"initial_state data file '{path}' of {where} is outside the folder 'initial_state'"
            )


def _check_initial_dims(state: SequenceState, initial: SequenceInitialState) -> None:
    if len(initial.dims) != len(state.dims):
        raise InvalidRequest(
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions "
            f"for state input '{state.input_name}'. {len(initial.dims)} != {len(state.dims)}"
        )
    for size, wanted in zip(initial.dims, state.dims, strict=True):
        if size == ANY_SIZE:
            raise InvalidRequest(
                f"'initial_state' field for state input name '{state.input_name}' contains "
                "variable dimensions."
            )
        if wanted not in {ANY_SIZE, size}:
            raise InvalidRequest(
                f"'initial_state' dim for input name '{state.input_name}' doesn't match 'state' "
                f"dim description. {size} != {wanted}"
            )


def _check_growth(config: TritonConfig, state: SequenceState) -> None:
    """Refuse what Triton has for GPUs only; here every state may grow."""
    if not state.use_growable_memory:
        return
    if not state.use_same_buffer_for_input_output:
        raise InvalidRequest(
            "In order to 'use_growable_memory', you must also enable 'use_single_buffer' for state "
            f"input name '{state.input_name}'."
        )
    if any(group.kind is not InstanceKind.GPU for group in config.instance_group) or (
        not config.instance_group
    ):
        raise InvalidRequest(
            "'use_growable_memory' can only work with KIND_GPU model instances right now. Please "
            "either change the instance type to KIND_GPU or set 'use_growable_memory' to false for "
            f"state input '{state.input_name}'."
        )


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
