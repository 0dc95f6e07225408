"""Several requests as one, stacked along the first dimension, and one answer as several.

A library that computes row by row needs one call for a whole batch. Requests are stacked when they
differ in nothing but their rows; an answer is split when each of its outputs has as many rows.
Where the call fails or the rows do not fit, each request is answered on its own: what is wrong with
one request is no other's failure.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpserve.runtimes.protocol import Request, Response, Tensor
from mpserve.runtimes.responses import Answer, ResponseBuilder, answer_each, last_line
from mpserve.telemetry import log

Array = npt.NDArray[Any]  # any of the datatypes


class StackedTensor:
    """One input of several requests; satisfies `protocol.Tensor`.

    Attributes
    ----------
    rows
        Of each request, in order.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._first = parts[0]
        arrays = [part.as_numpy() for part in parts]
        self.rows = [len(array) for array in arrays]
        self._array: Array = np.concatenate(arrays)
        self._array.flags.writeable = False  # as an input of a single request

    def name(self) -> str:
        """Return the tensor's name."""
        return self._first.name()

    def as_numpy(self) -> Array:
        """Return the elements of all requests, read-only."""
        return self._array

    def shape(self) -> Sequence[int]:
        """Return the shape of the whole."""
        return self._array.shape

    def datatype_name(self) -> str:
        """Return the datatype as the wire spells it."""
        return self._first.datatype_name()

    def parameters_json(self) -> str:
        """Return the parameters that all have."""
        return self._first.parameters_json()


class StackedRequest:
    """Several requests that differ only in their rows; satisfies `protocol.Request`.

    Attributes
    ----------
    rows
        Of each request, in order.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self._first = requests[0]
        self._inputs = [
            StackedTensor(parts)
            for parts in zip(*(request.inputs() for request in requests), strict=True)
        ]
        self.rows = self._inputs[0].rows

    def request_id(self) -> str:
        """Return no id: there is none for all."""
        return ""

    def inputs(self) -> Sequence[Tensor]:
        """Return the stacked tensors."""
        return self._inputs

    def parameters(self) -> str:
        """Return the parameters that all have."""
        return self._first.parameters()

    def requested_output_names(self) -> Sequence[str]:
        """Return the outputs that all ask for."""
        return self._first.requested_output_names()

    def output_parameters_json(self, name: str) -> str:
        """Return the parameters that all give a requested output."""
        return self._first.output_parameters_json(name)

    def likeness(self) -> bytes | None:
        """Return what all have in common."""
        return self._first.likeness()

    def headers(self) -> bytes:
        """Return those of the first: what is stacked is answered once."""
        return self._first.headers()

    def takes_many(self) -> bool:
        """Say no: what is stacked is answered once."""
        return False

    def has_more_inputs(self) -> bool:
        """Say no: what is stacked is no stream."""
        return False

    def is_handler_call(self) -> bool:
        """Say no: only inferences are stacked."""
        return False


def alike(requests: Sequence[Request]) -> list[list[int]]:
    """Return the places of requests that may be stacked, group by group, in order.

    A request that may not be stacked is a group of its own.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(request.likeness() or place, []).append(place)
    return list(groups.values())


def in_order(
    groups: Sequence[Sequence[int]], answered: Sequence[Sequence[Response]]
) -> list[Response]:
    """Return the responses of all groups in the order of the batch."""
    placed = {
        place: response
        for places, responses in zip(groups, answered, strict=True)
        for place, response in zip(places, responses, strict=True)
    }
    return [placed[place] for place in range(len(placed))]


def answer_together(
    requests: Sequence[Request], responses: ResponseBuilder, predict: Callable[[Request], Answer]
) -> list[Response]:
    """Answer a batch with one call for all requests that are alike.

    Parameters
    ----------
    predict
        As for `answer_each`; its outputs have one row for each row of the inputs, or the requests
        are answered one by one.
    """
    if len(requests) == 1:
        return answer_each(requests, responses, predict)
    groups = alike(requests)
    if len(groups) == 1:
        return _answer_group(requests, responses, predict)
    return in_order(
        groups,
        [
            _answer_group([requests[place] for place in places], responses, predict)
            for places in groups
        ],
    )


def _answer_group(
    requests: Sequence[Request], responses: ResponseBuilder, predict: Callable[[Request], Answer]
) -> list[Response]:
    if len(requests) > 1:
        try:
            stacked = StackedRequest(requests)
            answered = responses.answer_rows(predict(stacked), stacked.rows)
            if answered is not None:
                return answered
        except Exception as error:  # noqa: BLE001  # told by the request that is to blame
            log.debug("batch.divided", requests=len(requests), reason=last_line(error))
    return answer_each(requests, responses, predict)
