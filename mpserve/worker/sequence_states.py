"""Implicit state of sequences: what a model answers for one request, it is given with the next.

The state of a sequence is with the instance that has the sequence, and dies with it. It is kept by
the slot, which one sequence has at a time, so it takes no more memory than slots have states.

Guarantees
    A sequence's first request gets the first value, each further one what the one before it was
    answered with; a request that fails leaves the state as it was. What the model does to an array
    later changes no state, unless the state is shared.
Source: Triton's `sequence_batching.state` and its words.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from mpserve._native import Tensor, put_input, sequence_place, watch_answers
from mpserve.compat.triton_datatypes import deserialize_bytes_tensor, triton_to_numpy_type
from mpserve.dispatch.validation import fits
from mpserve.errors import InvalidRequest, ModelError, RepositoryError
from mpserve.model.request import shape_text
from mpserve.model.sequence import SequenceState
from mpserve.model.tensor import Datatype
from mpserve.runtimes.protocol import Request, Response
from mpserve.runtimes.responses import NativeResponses

FOLDER: Final = "initial_state"
_Array = npt.NDArray[Any]  # any of the datatypes
_Values = dict[str, _Array]  # by the name of the input


class Executing(Protocol):
    """The part of a runtime that executes."""

    name: str

    def execute(self, requests: Sequence[Request]) -> Sequence[Response | None]:
        """Answer a batch."""
        ...


class StatefulModel:
    """A runtime whose model is given the states of sequences, and whose answers change them."""

    def __init__(self, runtime: Executing, states: Sequence[SequenceState], folder: Path) -> None:
        self.name = runtime.name
        self._execute = runtime.execute
        self._execute_stream = getattr(runtime, "execute_stream", runtime.execute)
        self._states = states
        self._first = first_values(states, folder)
        self._slots: dict[int, tuple[int, _Values]] = {}  # slot -> number of the sequence, values
        self._responses = NativeResponses()

    def execute(self, requests: Sequence[Request]) -> list[Response | None]:
        """Answer a batch, and keep what it says of states."""
        held = [self._give(request) for request in requests]
        answered = list(self._execute(requests))
        if len(answered) != len(held):  # the border around the model tells that
            return answered
        return [
            response if response is None or values is None else self._kept(values, response)
            for values, response in zip(held, answered, strict=True)
        ]

    def execute_stream(self, requests: Sequence[Request]) -> None:
        """Let a decoupled model take a batch; each answer may change the states."""
        for request in requests:
            values = self._give(request)
            if values is not None:
                watch_answers(cast("Any", request), cast("Any", partial(self._keep, values)))
        self._execute_stream(requests)

    # --- one request ------------------------------------------------------------------------------

    def _give(self, request: Any) -> _Values | None:  # noqa: ANN401  # native
        """Add the states to a request; return where they are kept, `None` for nowhere."""
        place = cast("tuple[int, int] | None", sequence_place(request))
        values = self._first if place is None else self._values_of(request, *place)
        for state in self._states:
            array = values[state.input_name]
            if place is None or not state.is_shared:
                array = array.view()
                array.flags.writeable = False
            put_input(request, Tensor(state.input_name, array))
        return None if place is None else values

    def _values_of(self, request: Any, slot: int, number: int) -> _Values:  # noqa: ANN401
        held = self._slots.get(slot)
        if held is not None and held[0] == number and not _starts(request):
            return held[1]
        values = {name: array.copy() for name, array in self._first.items()}
        self._slots[slot] = number, values
        return values

    def _kept(self, values: _Values, response: Response) -> Response:
        """Return the answer, or what is wrong with the states in it."""
        try:
            self._keep(values, response)
        except ModelError as error:
            return self._responses.refuse(error.failure())
        return response

    def _keep(self, values: _Values, response: Response) -> None:
        if response.has_error():
            return
        found = {tensor.name(): tensor for tensor in response.output_tensors()}
        values.update(
            {
                state.input_name: _checked(state, found[state.output_name])
                for state in self._states
                if state.output_name in found
            }
        )


def _starts(request: Any) -> bool:  # noqa: ANN401  # native
    return bool(request.flags() & 1)  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START


def _checked(state: SequenceState, tensor: Any) -> _Array:  # noqa: ANN401  # native
    """Return a copy of an output; a model may use its memory again.

    Raises
    ------
    ModelError
        It is not what the configuration says of the state.
    """
    provided = tensor.datatype_name()
    if provided != state.datatype.name:
        raise ModelError(
            f"state '{state.output_name}': the configuration expects datatype "
            f"{state.datatype.config_name}, the model answered TYPE_"
            f"{'STRING' if provided == 'BYTES' else provided}"
        )
    shape = tuple(tensor.shape())
    if not fits(shape, state.shape):
        raise ModelError(
            f"state '{state.output_name}': the configuration expects shape "
            f"{shape_text(state.shape)}, the model answered {shape_text(shape)}"
        )
    return np.array(tensor.as_numpy())


# --- how a sequence begins ------------------------------------------------------------------------


def first_values(states: Sequence[SequenceState], folder: Path) -> _Values:
    """Return what each state is at a sequence's start.

    Parameters
    ----------
    folder
        Where the files of first values are.

    Raises
    ------
    InvalidRequest, RepositoryError
        A file can not be read, or is too small; with Triton's words where it has some.
    """
    return {state.input_name: _first_value(state, folder) for state in states}


def first_tensors(states: Sequence[SequenceState], folder: Path) -> Iterator[Tensor]:
    """Return the inputs by which a model is told of states that have just begun."""
    for name, array in first_values(states, folder).items():
        yield Tensor(name, array)


def _first_value(state: SequenceState, folder: Path) -> _Array:
    count = math.prod(state.first_shape)
    if state.datatype is Datatype.BYTES:
        return _first_texts(state, folder, count)
    scalar: np.dtype[Any] = np.dtype(triton_to_numpy_type(state.datatype))
    if not state.first_file:
        return np.zeros(state.first_shape, scalar)
    content = _content(state, folder)
    wanted_bytes = count * state.datatype.item_bytes
    if len(content) < wanted_bytes:
        raise InvalidRequest(
            f"initial_state setting expects {wanted_bytes} bytes, but the data provided from "
            f"{state.first_file} only has {len(content)} bytes."
        )
    return np.frombuffer(content[:wanted_bytes], scalar).reshape(state.first_shape).copy()


def _first_texts(state: SequenceState, folder: Path, count: int) -> _Array:
    texts = np.full(count, b"", np.object_)
    if state.first_file:
        found = deserialize_bytes_tensor(_content(state, folder))
        if len(found) != count:
            raise InvalidRequest(
                f"initial_state setting expects {count} texts, but the data provided from "
                f"{state.first_file} has {len(found)}."
            )
        texts[:] = found
    return texts.reshape(state.first_shape)


def _content(state: SequenceState, folder: Path) -> bytes:
    path = folder / state.first_file
    try:
        return path.read_bytes()
    except OSError as error:
        raise RepositoryError(
            f"failed to read initial_state data file {path}: {error.strerror}"
        ) from error
