"""What a configuration says of a batch that is put together of unlike requests. Pure.

Inputs with `allow_ragged_batch` reach the model as one row of all their elements; `batch_input`
tells it where each request begins in them, and `batch_output` says which outputs are such a row.

Source: Triton's ONNX Runtime and PyTorch backends, and its guide "Ragged Batching".
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from mpserve.errors import ModelError
from mpserve.model.triton.config import BatchInput, ModelOutput, TritonConfig
from mpserve.model.triton.config_json import decode_config

Array = npt.NDArray[Any]  # any of the datatypes
Shape = tuple[int, ...]
Shapes = Sequence[Shape]
"""Of one input: of each request of the batch."""


class ScatteredOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is one row of all elements of a batch.

    Attributes
    ----------
    source
        Input whose sizes stand for the free ones of `shape`.
    shape
        Of a request's part, with the batch dimension where there is one; -1 for a free size.
    """

    source: str
    shape: Shape


class BatchTensors(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; `is_used` is false for a model that says nothing of the kind."""

    ragged: frozenset[str] = frozenset()
    inputs: tuple[BatchInput, ...] = ()
    outputs: Mapping[str, ScatteredOutput] = {}
    batches: bool = False

    @property
    def is_used(self) -> bool:
        """Whether a batch is put together in any other way than by rows."""
        return bool(self.ragged or self.inputs or self.outputs)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs that are added, in order."""
        return tuple(name for one in self.inputs for name in one.target_name)

    @classmethod
    def of(cls, config: TritonConfig) -> "BatchTensors":
        """Read a checked configuration (`model.triton.batch_validation`)."""
        batches = config.max_batch_size > 0
        declared = {output.name: output for output in config.output}
        return cls(
            ragged=frozenset(one.name for one in config.input if one.allow_ragged_batch),
            inputs=config.batch_input,
            outputs={
                name: ScatteredOutput(
                    source=one.source_input[0],
                    shape=_shape_of(declared[name], batches=batches),
                )
                for one in config.batch_output
                for name in one.target_name
            },
            batches=batches,
        )


def batch_tensors_of(config_json: str) -> BatchTensors:
    """Read a checked configuration as JSON; an MLServer model has none, and nothing of the kind."""
    return BatchTensors.of(decode_config(config_json)) if config_json else BatchTensors()


def added_inputs(tensors: BatchTensors, shapes: Mapping[str, Shapes]) -> dict[str, Array]:
    """Return the inputs that tell how a batch was put together.

    Parameters
    ----------
    shapes
        By input, of each request of the batch.
    """
    return {
        name: _FORMS[one.kind](shapes[one.source_input[0]]).astype(_DTYPES[one.data_type])
        for one in tensors.inputs
        for name in one.target_name
    }


def scattered(output: ScatteredOutput, name: str, array: Array, sources: Shapes) -> list[Array]:
    """Return the part of each request in an output that is one row for all.

    Raises
    ------
    ModelError
        The row is too short.
    """
    shapes = [_filled(output.shape, source) for source in sources]
    ends = list(accumulate(prod(shape) for shape in shapes))
    row = array.reshape(-1)
    if ends[-1] > row.size:
        raise ModelError(
            f"output '{name}' has {row.size} elements; those of the batch, of the shapes of input"
            f" '{output.source}', are {ends[-1]}"
        )
    begins = [0, *ends]
    return [
        row[begin:end].reshape(shape)
        for begin, end, shape in zip(begins, ends, shapes, strict=False)
    ]


def _shape_of(output: ModelOutput, *, batches: bool) -> Shape:
    dims = output.model_dims
    return (-1, *dims) if batches else dims


def _filled(shape: Shape, source: Shape) -> Shape:
    """Give the free sizes those of the same places in the input."""
    return tuple(source[place] if size == -1 else size for place, size in enumerate(shape))


def _counts(shapes: Shapes) -> Array:
    return np.array([prod(shape) for shape in shapes])


def _sums(shapes: Shapes) -> Array:
    return np.cumsum(_counts(shapes))


def _sums_from_zero(shapes: Shapes) -> Array:
    return np.concatenate([[0], _sums(shapes)])


def _longest(shapes: Shapes) -> Array:
    """Tell by its size only, as in Triton; which leaves the elements as they are."""
    return np.zeros(max(_counts(shapes)))


def _item_shapes(shapes: Shapes) -> Array:
    """Of each row of each request, the shape of it."""
    rows = [shape[1:] for shape in shapes for _ in range(shape[0])]
    return np.array(rows).reshape(len(rows), len(shapes[0]) - 1)


def _item_shapes_in_a_row(shapes: Shapes) -> Array:
    return _item_shapes(shapes).reshape(-1)


_FORMS: Final[Mapping[str, Callable[[Shapes], Array]]] = {
    "BATCH_ELEMENT_COUNT": _counts,
    "BATCH_ACCUMULATED_ELEMENT_COUNT": _sums,
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": _sums_from_zero,
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": _longest,
    "BATCH_ITEM_SHAPE": _item_shapes,
    "BATCH_ITEM_SHAPE_FLATTEN": _item_shapes_in_a_row,
}
_DTYPES: Final = {"TYPE_FP32": np.float32, "TYPE_INT32": np.int32}
