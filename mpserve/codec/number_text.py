"""Tensor elements -> JSON text, as the peers print them.

Triton prints with RapidJSON: the shortest decimal that reads back as the same double, always with a
point or an exponent; plain digits from 1e-6 to below 1e21. orjson differs from 1e-6 to 1e-5 and
from 1e16 on, and in what it writes for NaN and infinities, so arrays that hold such values are
printed element by element.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from mpserve.codec.datatype import DTYPES
from mpserve.dialect import NonFiniteWords
from mpserve.model.request import Bytes
from mpserve.model.tensor import Datatype

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_PLAIN_FROM: Final = 1e-6
_ORJSON_PLAIN_FROM: Final = 1e-5
_ORJSON_PLAIN_TO: Final = 1e16
_PLAIN_TO: Final = 1e21


def numbers_text(data: Bytes, datatype: Datatype, *, words: NonFiniteWords) -> bytes:
    """Return tensor data, of any datatype that numpy has, as a JSON array; `words` as below."""
    import numpy as np  # noqa: PLC0415  # see `datatype`

    return array_text(np.frombuffer(data, dtype=DTYPES[datatype]), words=words)


def doubles_text(data: Bytes, *, words: NonFiniteWords) -> bytes:
    """Return FP32 tensor data as a JSON array of the doubles they are."""
    import numpy as np  # noqa: PLC0415  # see `datatype`

    with np.errstate(invalid="ignore"):  # a NaN that signals is one like others
        doubles = np.frombuffer(data, dtype=DTYPES[Datatype.FP32]).astype(np.float64)
    return array_text(doubles, words=words)


def array_text(values: "npt.NDArray[Any]", *, words: NonFiniteWords) -> bytes:
    """Return a one-dimensional array of booleans or numbers as a JSON array.

    Parameters
    ----------
    values
        Contiguous, of any numpy type that JSON numbers can stand for. FP32 is printed as shortly as
        FP32 can be read back; give doubles where the peer prints doubles.
    words
        What stands for NaN and infinities.
    """
    if values.dtype.kind != "f":
        return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    if values.dtype.itemsize == 2:  # printed as the double it equals
        values = values.astype(DTYPES[Datatype.FP64])
    if _orjson_prints_alike(values):
        return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"[" + b",".join(_float_text(value, words) for value in values) + b"]"


def _orjson_prints_alike(values: "npt.NDArray[np.floating[Any]]") -> bool:
    sizes = abs(values)
    small = (sizes >= _PLAIN_FROM) & (sizes < _ORJSON_PLAIN_FROM)
    plain = sizes < _ORJSON_PLAIN_TO  # neither NaN nor an infinity is
    return bool((plain & ~small).all())


def _float_text(value: "np.floating[Any]", words: NonFiniteWords) -> bytes:
    number = float(value)
    if number != number:  # noqa: PLR0124  NaN is the only value that differs from itself
        return words.nan
    if number in {float("inf"), float("-inf")}:
        return words.infinity if number > 0 else words.negative_infinity
    if _PLAIN_FROM <= abs(number) < _ORJSON_PLAIN_FROM:
        return format(Decimal(_shortest(value)), "f").encode()
    if _ORJSON_PLAIN_TO <= abs(number) < _PLAIN_TO:
        return format(Decimal(_shortest(value)), "f").encode() + b".0"
    text = orjson.dumps(value.reshape(1), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    return text.replace(b"e+", b"e")


def _shortest(value: "np.floating[Any]") -> str:
    import numpy as np  # noqa: PLC0415  # see `datatype`

    return np.format_float_scientific(value, unique=True, trim="-")
