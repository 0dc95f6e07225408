"""Several requests as one, for models that put requests together themselves.

mpserve batches by `max_batch_size` and `max_batch_time` before a model sees anything; so
`load_batching` has nothing to do, and nothing here is on the way of a request.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpserve.compat.mlserver.codecs.lists import flat_list
from mpserve.compat.mlserver.model import MLModel
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

_OF_ALL = ("content_type", "headers")  # parameters that requests share; of others each has its own


class Shape:
    """A shape whose first dimension counts what is batched."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = list(shape)

    def to_list(self) -> list[int]:
        """Return the dimensions."""
        return list(self._shape)

    def copy(self) -> "Shape":
        """Return another shape of these dimensions."""
        return Shape(self._shape)

    @property
    def batch_axis(self) -> int:
        """Which dimension counts."""
        return 0

    @property
    def batch_size(self) -> int:
        """The first dimension."""
        return self._shape[0]

    @batch_size.setter
    def batch_size(self, new_size: int) -> None:
        self._shape[0] = new_size

    @property
    def elem_size(self) -> int:
        """Elements of one of what is batched."""
        return math.prod(self._shape[1:])


class BatchedRequests:
    """Merges requests along their first dimension, and splits the answer.

    Attributes
    ----------
    merged_request
        All requests as one.
    """

    def __init__(
        self, inference_requests: Mapping[str, InferenceRequest] = {}
    ) -> None:  # not changed
        self.inference_requests = dict(inference_requests)
        self._sizes: dict[str, int] = {}
        self.merged_request = self._merged()

    def split_response(self, batched_response: InferenceResponse) -> dict[str, InferenceResponse]:
        """Return the part of each request, by the key that it was given with."""
        parts = {
            key: InferenceResponse(
                id=request.id,
                model_name=batched_response.model_name,
                model_version=batched_response.model_version,
                parameters=batched_response.parameters,
                outputs=[],
            )
            for key, request in self.inference_requests.items()
        }
        for output in batched_response.outputs:
            elements = flat_list(output.data)
            shape = Shape(output.shape)
            at = place = 0
            for key, size in self._sizes.items():
                end = at + size * shape.elem_size
                part = ResponseOutput(
                    name=output.name,
                    shape=[size, *output.shape[1:]],
                    datatype=output.datatype,
                    data=elements[at:end],
                    parameters=_part_of(output.parameters, place),
                )
                parts[key].outputs.append(part)
                at, place = end, place + size
        return parts

    def _merged(self) -> InferenceRequest:
        inputs: dict[str, list[RequestInput]] = {}
        outputs: dict[str, list[RequestOutput]] = {}
        for key, request in self.inference_requests.items():
            for given in request.inputs:
                inputs.setdefault(given.name, []).append(given)
                self._sizes[key] = given.shape[0]
            for wanted in request.outputs or ():
                outputs.setdefault(wanted.name, []).append(wanted)
        return InferenceRequest(
            inputs=[_merged_input(parts) for parts in inputs.values()],
            outputs=[
                RequestOutput(name=name, parameters=_merged_parameters(parts))
                for name, parts in outputs.items()
            ]
            or None,
            parameters=_merged_parameters(list(self.inference_requests.values())),
        )


async def load_batching(model: MLModel) -> MLModel:
    """Return the model: mpserve batches its requests already."""
    return model


class AdaptiveBatcher:
    """Puts requests to a model together by its settings; here, mpserve has done so."""

    def __init__(self, model: MLModel) -> None:
        self._model = model

    async def predict(self, req: InferenceRequest) -> InferenceResponse:
        """Return the model's answer."""
        return await self._model.predict(req)


def _merged_input(parts: list[RequestInput]) -> RequestInput:
    elements: list[Any] = []
    for part in parts:
        elements += flat_list(part.data)
    shape = Shape(parts[0].shape)
    shape.batch_size = int(np.sum([part.shape[0] for part in parts]))
    return RequestInput(
        name=parts[0].name,
        datatype=parts[0].datatype,
        shape=shape.to_list(),
        data=elements,
        parameters=_merged_parameters(parts),
    )


def _merged_parameters(owners: Sequence[Any]) -> Parameters | None:
    """Return what all share, and of other parameters a list of each one's."""
    values: dict[str, Any] = {}
    for owner in owners:
        for name, value in dict(owner.parameters or ()).items():
            if value is None:
                continue
            if name in _OF_ALL:
                values[name] = value
            else:
                values.setdefault(name, []).append(value)
    return Parameters(**values) if values else None


def _part_of(parameters: Parameters | None, place: int) -> Parameters | None:
    if parameters is None:
        return None
    values = {}
    for name, value in dict(parameters).items():
        if name in _OF_ALL or not isinstance(value, list):
            values[name] = value
        elif place < len(value):
            values[name] = value[place]
    return Parameters(**values)
