"""What a model's configuration says of sequences of requests.

Source: Triton's `sequence_batching`.
"""

import enum

import msgspec

from mpserve.model.tensor import Datatype


class ControlKind(enum.Enum):
    """What a control input tells the model."""

    START = "CONTROL_SEQUENCE_START"
    END = "CONTROL_SEQUENCE_END"
    READY = "CONTROL_SEQUENCE_READY"
    CORRELATION_ID = "CONTROL_SEQUENCE_CORRID"


class SequenceControl(msgspec.Struct, frozen=True, kw_only=True):
    """An input of one element that the server adds to each request.

    Attributes
    ----------
    when_false, when_true
        The element in binary form; empty for the correlation id, which is its own value.
    """

    name: str
    kind: ControlKind
    datatype: Datatype
    when_false: bytes = b""
    when_true: bytes = b""


class SequenceState(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor that the server keeps from one request of a sequence to the next.

    Attributes
    ----------
    input_name, output_name
        What the model answers under the one name, it is given under the other the next time.
    shape
        With the batch dimension if the model has one; -1 stands for any size.
    first_shape
        Of the value with which a sequence starts.
    first_file
        Its elements in wire form, in the model's folder `initial_state`; "" when they are zero.
    is_shared
        The model may change the value in place; it need not answer it then.
    """

    input_name: str
    output_name: str
    datatype: Datatype
    shape: tuple[int, ...]
    first_shape: tuple[int, ...]
    first_file: str = ""
    is_shared: bool = False


class SequencePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How sequences are placed and their requests put together.

    Attributes
    ----------
    slots
        Sequences that one instance holds at once.
    idle_us
        A sequence from which no request comes for so long is let go.
    is_direct
        Each slot has a row of the batch of its own; otherwise the oldest requests are batched.
    ready_slots
        Direct: a batch waits no longer once so many slots have a request.
    max_delay_us
        How long the oldest request may wait for company; 0 for not at all.
    preferred_sizes
        Oldest: sizes at which a batch waits no longer.
    is_iterative
        Each sequence is one request, which the model may want to execute many times.
    """

    slots: int
    idle_us: int
    is_direct: bool = True
    ready_slots: int = 1
    max_delay_us: int = 0
    preferred_sizes: tuple[int, ...] = ()
    controls: tuple[SequenceControl, ...] = ()
    states: tuple[SequenceState, ...] = ()
    is_iterative: bool = False

    @property
    def correlation_id(self) -> SequenceControl | None:
        """The control that tells the model the correlation id, if there is one."""
        return next((one for one in self.controls if one.kind is ControlKind.CORRELATION_ID), None)
