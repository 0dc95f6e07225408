"""From `sequence_batching` of a configuration to how sequences are served."""

import struct

import pytest

from mpserve.model.sequence import ControlKind, SequenceControl, SequenceState
from mpserve.model.tensor import Datatype
from mpserve.model.triton.normalization import normalize
from mpserve.model.triton.sequence_summary import sequence_policy
from mpserve.repository.triton.pbtxt import parse_text_config


def policy(text: str, *, rows: int = 4):
    config = f"max_batch_size: {rows} sequence_batching {{ {text} }}"
    return sequence_policy(normalize(parse_text_config(config, path="p")))


def test_a_model_without_sequences_has_no_policy():
    assert sequence_policy(parse_text_config("max_batch_size: 4", path="p")) is None


@pytest.mark.parametrize("text", ["", "direct {}"])
def test_direct_is_the_default_and_has_a_slot_for_each_row(text):
    made = policy(text)
    assert (made.is_direct, made.slots, made.idle_us) == (True, 4, 1_000_000)
    assert (made.ready_slots, made.max_delay_us) == (1, 0)


def test_a_model_that_does_not_batch_has_one_slot():
    assert policy("", rows=0).slots == 1


@pytest.mark.parametrize(
    ("wait", "slots", "delay_us"),
    [
        ("max_queue_delay_microseconds: 9", 1, 0),
        ("max_queue_delay_microseconds: 9 minimum_slot_utilization: 0.6", 3, 9),
        ("minimum_slot_utilization: 1.0", 4, 0),
    ],
)
def test_the_delay_of_direct_counts_only_with_a_utilization(wait, slots, delay_us):
    made = policy(f"direct {{ {wait} }}")
    assert (made.ready_slots, made.max_delay_us) == (slots, delay_us)


def test_oldest_has_candidates_sizes_and_a_delay():
    made = policy(
        "oldest { max_candidate_sequences: 9 preferred_batch_size: [ 3, 2, 3 ]"
        " max_queue_delay_microseconds: 5 } max_sequence_idle_microseconds: 8"
    )
    assert (made.is_direct, made.slots, made.idle_us) == (False, 9, 8)
    assert (made.preferred_sizes, made.max_delay_us) == ((2, 3), 5)


def test_oldest_has_as_many_candidates_as_rows_unless_it_says():
    assert policy("oldest {}").slots == 4


def test_controls_keep_their_values_as_bytes():
    made = policy(
        """
        control_input [
          { name: "A" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 3, -4 ] } ] },
          { name: "B" control [ { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 0.5 ] } ] },
          { name: "C" control [ { kind: CONTROL_SEQUENCE_READY
                                  bool_false_true: [ false, true ] } ] },
          { name: "D" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ] }
        ]
        """
    )
    assert made.controls == (
        SequenceControl(
            name="A",
            kind=ControlKind.START,
            datatype=Datatype.INT32,
            when_false=struct.pack("<i", 3),
            when_true=struct.pack("<i", -4),
        ),
        SequenceControl(
            name="B",
            kind=ControlKind.END,
            datatype=Datatype.FP32,
            when_false=struct.pack("<f", 0),
            when_true=struct.pack("<f", 0.5),
        ),
        SequenceControl(
            name="C",
            kind=ControlKind.READY,
            datatype=Datatype.BOOL,
            when_false=b"\0",
            when_true=b"\1",
        ),
        SequenceControl(name="D", kind=ControlKind.CORRELATION_ID, datatype=Datatype.BYTES),
    )
    assert made.correlation_id is made.controls[3]


def test_states_have_a_row_and_a_first_value():
    made = policy(
        """
        iterative_sequence: true
        state [
          { input_name: "A" output_name: "B" data_type: TYPE_FP32 dims: [ -1, 3 ] },
          { input_name: "C" output_name: "D" data_type: TYPE_STRING dims: [ -1 ]
            use_same_buffer_for_input_output: true
            initial_state { name: "x" data_type: TYPE_STRING dims: [ 2 ] data_file: "c" } }
        ]
        """
    )
    assert made.is_iterative
    assert made.states == (
        SequenceState(
            input_name="A",
            output_name="B",
            datatype=Datatype.FP32,
            shape=(1, -1, 3),
            first_shape=(1, 1, 3),
        ),
        SequenceState(
            input_name="C",
            output_name="D",
            datatype=Datatype.BYTES,
            shape=(1, -1),
            first_shape=(1, 2),
            first_file="c",
            is_shared=True,
        ),
    )


def test_a_model_that_does_not_batch_has_states_without_a_row():
    state = 'state { input_name: "A" output_name: "B" data_type: TYPE_FP32 dims: [ 2 ] }'
    (made,) = policy(state, rows=0).states
    assert (made.shape, made.first_shape) == ((2,), (2,))
