"""The classification extension: the best classes of an output instead of its values.

An output becomes `BYTES` of shape `[batch, k]` (or `[k]`), best first, each element
`<value>:<index>[:<label>]`. Source: Triton's server; KServe "Classification Extension".
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mpserve.codec.datatype import DTYPES
from mpserve.errors import InvalidRequest
from mpserve.model.request import Bytes
from mpserve.model.tensor import Datatype

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_CLASSES: Final = 1_000_000  # more elements than this are not sorted for a client

_UNSUPPORTED: Final = frozenset({Datatype.BOOL, Datatype.FP16, Datatype.BF16, Datatype.BYTES})


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """Classes of one output: shape, and the elements in row-major order."""

    shape: tuple[int, ...]
    elements: tuple[bytes, ...]


def classify(
    data: Bytes,
    *,
    datatype: Datatype,
    shape: Sequence[int],
    batches: bool,
    classes: int,
    labels: Sequence[str] = (),
) -> Classified:
    """Return the best `classes` of an output.

    Parameters
    ----------
    data
        The output in binary form.
    batches
        The first dimension of `shape` is a batch; each row is classified by itself.
    labels
        By index; those that are missing are left out.

    Raises
    ------
    InvalidRequest
        The datatype has no order, or there are too many elements.
    """
    if datatype in _UNSUPPORTED:
        raise InvalidRequest(
            f"class result not available for output due to unsupported type '{datatype.name}'"
        )
    rows = shape[0] if batches and shape else 1
    row_elements = math.prod(shape[1:] if batches else shape)
    if row_elements > MAX_CLASSES:
        raise InvalidRequest(
            f"class result not available for output of {row_elements} elements; at most "
            f"{MAX_CLASSES} are sorted"
        )
    count = min(classes, row_elements)
    import numpy as np  # noqa: PLC0415  # see `datatype`

    values = np.frombuffer(data, dtype=DTYPES[datatype]).reshape(rows, row_elements)
    elements = tuple(text for row in values for text in _row_texts(row, count, labels))
    return Classified(shape=(rows, count) if batches else (count,), elements=elements)


def _row_texts(row: "npt.NDArray[Any]", count: int, labels: Sequence[str]) -> list[bytes]:
    # Descending, and of equal values the first one first: sort the reversed row, then reverse.
    best = len(row) - 1 - row[::-1].argsort(kind="stable")[::-1][:count]
    value_form = "{:f}" if row.dtype.kind == "f" else "{:d}"
    texts: list[bytes] = []
    for index in best.tolist():
        text = f"{value_form.format(row[index].item())}:{index}"
        texts.append((f"{text}:{labels[index]}" if index < len(labels) else text).encode())
    return texts
