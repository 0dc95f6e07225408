"""JSON elements -> binary tensor data, by datatype.

Triton's rules (`encode_elements`): the JSON type must be the datatype's own; integers are cut to
the width silently; FP32 is the float nearest to the parsed double. MLServer's (`coerce_elements`):
what numpy takes.

numpy is imported by those who convert, when they do: it takes longer than all else that a frontend
imports, and the native core reads and writes most tensors.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mpserve.codec import bytes_tensor
from mpserve.codec.json_member import (
    MAX_INT64,
    MAX_UINT64,
    NOT_A_BOOLEAN,
    NOT_A_NUMBER,
    NOT_A_STRING,
    NOT_SIGNED,
    NOT_UNSIGNED,
    unparsable,
)
from mpserve.codec.strict_json import TOO_DEEP, JsonValue
from mpserve.errors import InvalidRequest, MalformedRequest
from mpserve.model.tensor import Datatype

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_NESTING: Final = 100  # Triton's limit for `data`

DTYPES: Final[dict[Datatype, str]] = {
    Datatype.BOOL: "?",
    Datatype.UINT8: "u1",
    Datatype.UINT16: "<u2",
    Datatype.UINT32: "<u4",
    Datatype.UINT64: "<u8",
    Datatype.INT8: "i1",
    Datatype.INT16: "<i2",
    Datatype.INT32: "<i4",
    Datatype.INT64: "<i8",
    Datatype.FP16: "<f2",
    Datatype.FP32: "<f4",
    Datatype.FP64: "<f8",
}
"""How numpy spells the datatypes it has."""


class _JsonRule(msgspec.Struct, frozen=True, kw_only=True):
    """What JSON elements of one datatype must be."""

    types: frozenset[type]
    wide: str  # as in DTYPES
    complaint: str
    smallest: int = 0
    largest: int = 0  # 0: no range


_INT: Final = frozenset({int})
_UNSIGNED: Final = _JsonRule(types=_INT, wide="<u8", complaint=NOT_UNSIGNED, largest=MAX_UINT64)
_SIGNED: Final = _JsonRule(
    types=_INT,
    wide="<i8",
    complaint=NOT_SIGNED,
    smallest=-MAX_INT64 - 1,
    largest=MAX_INT64,
)
_FLOAT: Final = _JsonRule(types=frozenset({int, float}), wide="<f8", complaint=NOT_A_NUMBER)
_RULES: Final[dict[Datatype, _JsonRule]] = {
    Datatype.BOOL: _JsonRule(types=frozenset({bool}), wide="?", complaint=NOT_A_BOOLEAN),
    Datatype.UINT8: _UNSIGNED,
    Datatype.UINT16: _UNSIGNED,
    Datatype.UINT32: _UNSIGNED,
    Datatype.UINT64: _UNSIGNED,
    Datatype.INT8: _SIGNED,
    Datatype.INT16: _SIGNED,
    Datatype.INT32: _SIGNED,
    Datatype.INT64: _SIGNED,
    Datatype.FP32: _FLOAT,
    Datatype.FP64: _FLOAT,
}


def flatten(nested: Sequence[JsonValue]) -> list[JsonValue]:
    """Return the elements of nested arrays in row-major order.

    Raises
    ------
    InvalidRequest
        Nested deeper than `MAX_NESTING`.
    """
    if list not in set(map(type, nested)):
        return list(nested)
    flat: list[JsonValue] = []
    open_arrays = [iter(nested)]
    while open_arrays:
        for item in open_arrays[-1]:
            if isinstance(item, list):
                if len(open_arrays) >= MAX_NESTING:
                    raise InvalidRequest(TOO_DEEP)
                open_arrays.append(iter(item))
                break
            flat.append(item)
        else:
            open_arrays.pop()
    return flat


def encode_elements(elements: Sequence[JsonValue], datatype: Datatype) -> bytes:
    """Return JSON elements in binary form by Triton's rules.

    Parameters
    ----------
    elements
        Flat.
    datatype
        Any but `FP16` and `BF16`, which JSON can not carry for the peer.

    Raises
    ------
    MalformedRequest
        An element is of another JSON type, or an integer does not fit 64 bits.
    """
    if datatype is Datatype.BYTES:
        return bytes_tensor.pack(_texts(elements))
    rule = _RULES[datatype]
    if not rule.types.issuperset(map(type, elements)) or not _in_range(elements, rule):
        raise unparsable("data", rule.complaint)
    import numpy as np  # noqa: PLC0415  # see above

    wide = np.array(elements, dtype=rule.wide)
    with np.errstate(over="ignore"):  # past the float's range means infinity
        return wide.astype(DTYPES[datatype], copy=False).tobytes()


def coerce_elements(elements: Sequence[JsonValue], datatype: Datatype, *, name: str) -> bytes:
    """Return JSON elements in binary form as numpy converts them (MLServer).

    Parameters
    ----------
    name
        Of the input, for messages.

    Raises
    ------
    InvalidRequest
        An element can not be converted or does not fit.
    """
    if datatype is Datatype.BYTES:
        if not {str}.issuperset(map(type, elements)):
            raise InvalidRequest(f"input '{name}': every element of BYTES data must be a string")
        return bytes_tensor.pack(_texts(elements))
    import numpy as np  # noqa: PLC0415  # see above

    try:
        with np.errstate(over="ignore"):
            converted: npt.NDArray[Any] = np.array(elements, dtype=DTYPES[datatype])
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"input '{name}': data can not be converted to {datatype.name}: {error}"
        ) from error
    return converted.tobytes()


def _in_range(elements: Sequence[JsonValue], rule: _JsonRule) -> bool:
    if not rule.largest or not elements:
        return True
    numbers = [element for element in elements if isinstance(element, int)]
    return rule.smallest <= min(numbers) and max(numbers) <= rule.largest


def _texts(elements: Sequence[JsonValue]) -> list[bytes]:
    if not {str}.issuperset(map(type, elements)):
        raise MalformedRequest(f"Unable to parse JSON bytes array: {NOT_A_STRING}")
    return [element.encode() for element in elements if isinstance(element, str)]
