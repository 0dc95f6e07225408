# ruff: noqa: ANN401  # values are the users'
"""Lists of one element type, and single elements that stand for a list of one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mpserve.compat.mlserver.types import TensorData

ListElement = bytes | str
ListPayload = ListElement | list[ListElement]


def is_list_of(payload: Any, instance_type: type | tuple[type, ...]) -> bool:
    """Say whether `payload` is a list, all of whose elements are of the type."""
    return isinstance(payload, list) and all(isinstance(item, instance_type) for item in payload)


def as_list(payload: Any) -> Iterator[Any]:
    """Yield the elements of a tensor; a single text or `bytes` is one element."""
    elements = payload.root if isinstance(payload, TensorData) else payload
    if isinstance(elements, str | bytes):
        yield elements
    else:
        yield from elements


def flat_list(payload: Any) -> list[Any]:
    """Return the elements of a tensor, which may be nested lists, in C order."""
    flat: list[Any] = []
    for element in as_list(payload):
        if isinstance(element, list | tuple | np.ndarray):
            flat.extend(flat_list(element))
        else:
            flat.append(element)
    return flat
