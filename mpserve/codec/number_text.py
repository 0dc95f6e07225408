"""Tensor elements -> JSON text, as the peers print them.

Triton prints with RapidJSON: the shortest decimal that reads back as the same double, always with a
point or an exponent; plain digits from 1e-6 to below 1e21. orjson differs from 1e-6 to 1e-5 and
from 1e16 on, and in what it writes for NaN and infinities, so arrays that hold such values are
printed element by element.
"""

from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from mpserve.dialect import NonFiniteWords

_PLAIN_FROM: Final = 1e-6
_ORJSON_PLAIN_FROM: Final = 1e-5
_ORJSON_PLAIN_TO: Final = 1e16
_PLAIN_TO: Final = 1e21


def array_text(values: npt.NDArray[Any], *, words: NonFiniteWords) -> bytes:
    """Return a one-dimensional array of booleans or numbers as a JSON array.

    Parameters
    ----------
    values
        Of any numpy type that JSON numbers can stand for. FP32 is printed as shortly as FP32 can
        be read back; give doubles where the peer prints doubles.
    words
        What stands for NaN and infinities.
    """
    contiguous = np.ascontiguousarray(values)
    if contiguous.dtype.kind != "f":
        return orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY)
    if contiguous.dtype.itemsize == 2:  # printed as the double it equals
        contiguous = contiguous.astype(np.float64)
    if _orjson_prints_alike(contiguous):
        return orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"[" + b",".join(_float_text(value, words) for value in contiguous) + b"]"


def _orjson_prints_alike(values: npt.NDArray[np.floating[Any]]) -> bool:
    sizes = np.abs(values)
    small = (sizes >= _PLAIN_FROM) & (sizes < _ORJSON_PLAIN_FROM)
    large = sizes >= _ORJSON_PLAIN_TO
    return bool(np.isfinite(values).all() and not (small | large).any())


def _float_text(value: np.floating[Any], words: NonFiniteWords) -> bytes:
    number = float(value)
    if number != number:  # noqa: PLR0124  NaN is the only value that differs from itself
        return words.nan
    if number in {float("inf"), float("-inf")}:
        return words.infinity if number > 0 else words.negative_infinity
    if _PLAIN_FROM <= abs(number) < _ORJSON_PLAIN_FROM:
        return format(Decimal(_shortest(value)), "f").encode()
    if _ORJSON_PLAIN_TO <= abs(number) < _PLAIN_TO:
        return format(Decimal(_shortest(value)), "f").encode() + b".0"
    text = orjson.dumps(np.atleast_1d(value), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    return text.replace(b"e+", b"e")


def _shortest(value: np.floating[Any]) -> str:
    return np.format_float_scientific(value, unique=True, trim="-")
