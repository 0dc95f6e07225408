"""Several requests of unlike shapes as one, and one answer as several (`batch_tensors`).

As in `stacking`, a call that fails for all is made again for each request on its own: what is wrong
with one request is no other's failure.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from msgspec.structs import replace

from mpserve.errors import InvalidRequest, ModelError
from mpserve.model.tensor import Datatype
from mpserve.runtimes.batch_tensors import (
    Array,
    BatchTensors,
    Shapes,
    added_inputs,
    scattered,
)
from mpserve.runtimes.protocol import Request, Response, Tensor
from mpserve.runtimes.responses import (
    Answer,
    Output,
    ResponseBuilder,
    failure_of,
    last_line,
)
from mpserve.runtimes.stacking import in_order
from mpserve.telemetry import log

_DATATYPES = {np.dtype(np.float32): Datatype.FP32.name, np.dtype(np.int32): Datatype.INT32.name}
"""Of the inputs that are added."""


class GatheredTensor:
    """One input of all requests; satisfies `protocol.Tensor`."""

    def __init__(self, name: str, datatype: str, array: Array) -> None:
        self._name = name
        self._datatype = datatype
        self._array = array

    def name(self) -> str:
        """Return the tensor's name."""
        return self._name

    def as_numpy(self) -> Array:
        """Return the elements of all requests."""
        return self._array

    def shape(self) -> Sequence[int]:
        """Return the shape of the whole."""
        return self._array.shape

    def datatype_name(self) -> str:
        """Return the datatype as the wire spells it."""
        return self._datatype

    def parameters_json(self) -> str:
        """Return none: requests differ in them."""
        return ""


class GatheredRequest:
    """Requests as the model is asked for all of them; satisfies `protocol.Request`.

    Attributes
    ----------
    shapes
        By input: of each request, in order.
    """

    def __init__(self, requests: Sequence[Request], tensors: BatchTensors) -> None:
        parts = list(zip(*(request.inputs() for request in requests), strict=True))
        self.shapes: dict[str, Shapes] = {
            column[0].name(): [tuple(part.shape()) for part in column] for column in parts
        }
        self._wanted = _wanted(requests)
        self._inputs: list[Tensor] = [_gathered(column, tensors) for column in parts]
        for source in {one.source_input[0] for one in tensors.inputs} - self.shapes.keys():
            raise InvalidRequest(f"input '{source}' is missing, whose size the model is told")
        self._inputs += [
            GatheredTensor(name, _DATATYPES[array.dtype], array)
            for name, array in added_inputs(tensors, self.shapes).items()
        ]

    def request_id(self) -> str:
        """Return no id: there is none for all."""
        return ""

    def inputs(self) -> Sequence[Tensor]:
        """Return the inputs of the requests, then those that tell of the batch."""
        return self._inputs

    def parameters(self) -> str:
        """Return none: requests differ in them."""
        return ""

    def requested_output_names(self) -> Sequence[str]:
        """Return what any of them asks for; nothing when one asks for all."""
        return self._wanted

    def output_parameters_json(self, name: str) -> str:
        """Return none: requests differ in them."""
        del name
        return ""

    def headers(self) -> bytes:
        """Return none: requests differ in them."""
        return b""

    def likeness(self) -> bytes | None:
        """Say that it is put together with nothing more."""
        return None

    def takes_many(self) -> bool:
        """Say no: it is answered once."""
        return False

    def has_more_inputs(self) -> bool:
        """Say no: it is no stream."""
        return False

    def is_handler_call(self) -> bool:
        """Say no: only inferences are gathered."""
        return False


def answer_gathered(
    requests: Sequence[Request],
    responses: ResponseBuilder,
    predict: Callable[[Request], Answer],
    tensors: BatchTensors,
) -> list[Response]:
    """Answer a batch with one call for all requests that go together.

    Parameters
    ----------
    predict
        As for `answer_each`.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(_form(request, tensors), []).append(place)
    answered = [
        _answer_group([requests[place] for place in places], responses, predict, tensors)
        for places in groups.values()
    ]
    return in_order(list(groups.values()), answered)


def _answer_group(
    requests: Sequence[Request],
    responses: ResponseBuilder,
    predict: Callable[[Request], Answer],
    tensors: BatchTensors,
) -> list[Response]:
    try:
        return [responses.answer(answer) for answer in _divided(requests, predict, tensors)]
    except Exception as error:  # noqa: BLE001  # the border around the model's code
        if len(requests) == 1:
            return [responses.refuse(failure_of(error))]
        log.debug("batch.divided", requests=len(requests), reason=last_line(error))
    return [
        response
        for request in requests
        for response in _answer_group([request], responses, predict, tensors)
    ]


def _divided(
    requests: Sequence[Request], predict: Callable[[Request], Answer], tensors: BatchTensors
) -> list[Answer]:
    gathered = GatheredRequest(requests, tensors)
    answer = predict(gathered)
    columns = [
        (output, _parts(output, gathered.shapes, len(requests), tensors))
        for output in answer.outputs
    ]
    return [
        replace(
            answer,
            outputs=[
                replace(output, array=parts[place])
                for output, parts in columns
                if output.name in (request.requested_output_names() or (output.name,))
            ],
        )
        for place, request in enumerate(requests)
    ]


def _parts(
    output: Output, shapes: dict[str, Shapes], count: int, tensors: BatchTensors
) -> list[Array]:
    """Return the part of each request in an output."""
    row = tensors.outputs.get(output.name)
    if row is not None:
        return scattered(row, output.name, output.array, shapes[row.source])
    if not tensors.batches:
        return [output.array] * count
    rows = [shape[0] for shape in next(iter(shapes.values()))]
    if output.array.shape[:1] != (sum(rows),):
        raise ModelError(
            f"output '{output.name}' has the shape {list(output.array.shape)}; the batch has"
            f" {sum(rows)} rows. Name it in 'batch_output' when it is one row of all elements"
        )
    return np.split(output.array, np.cumsum(rows)[:-1])


def _gathered(column: Sequence[Tensor], tensors: BatchTensors) -> Tensor:
    arrays = [part.as_numpy() for part in column]
    first = column[0]
    if first.name() in tensors.ragged:
        arrays = [array.reshape(-1) for array in arrays]
    elif len(column) == 1:
        return first
    return GatheredTensor(first.name(), first.datatype_name(), np.concatenate(arrays))


def _form(request: Request, tensors: BatchTensors) -> Hashable:
    """Return what is equal for requests that one call may answer."""
    return tuple(
        (
            one.name(),
            one.datatype_name(),
            None if one.name() in tensors.ragged else tuple(one.shape())[1:],
        )
        for one in request.inputs()
    )


def _wanted(requests: Sequence[Request]) -> Sequence[str]:
    names = [request.requested_output_names() for request in requests]
    if not all(names):
        return ()
    return tuple(dict.fromkeys(name for of_one in names for name in of_one))
