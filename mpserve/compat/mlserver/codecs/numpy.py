# ruff: noqa: ANN401  # values are the users'
"""Arrays: `numpy.ndarray` as a tensor of the same datatype; content type `np`."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mpserve.compat.mlserver.codecs.batch_dimension import inject_batch_dimension
from mpserve.compat.mlserver.codecs.codec import InputCodec, SingleInputRequestCodec
from mpserve.compat.mlserver.codecs.lists import flat_list
from mpserve.compat.mlserver.codecs.registry import register_input_codec, register_request_codec
from mpserve.compat.mlserver.types import (
    Datatype,
    Parameters,
    RequestInput,
    ResponseOutput,
    TensorData,
)

Array = npt.NDArray[Any]  # any of the datatypes

DTYPE_OF: Final = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("uint8"),
    "UINT16": np.dtype("uint16"),
    "UINT32": np.dtype("uint32"),
    "UINT64": np.dtype("uint64"),
    "INT8": np.dtype("int8"),
    "INT16": np.dtype("int16"),
    "INT32": np.dtype("int32"),
    "INT64": np.dtype("int64"),
    "FP16": np.dtype("float16"),
    "FP32": np.dtype("float32"),
    "FP64": np.dtype("float64"),
}
"""Datatype -> dtype of its arrays; not BYTES, whose width is in the data."""

_DATATYPE_OF: Final = {dtype: Datatype(word) for word, dtype in DTYPE_OF.items()}
_TEXT_KINDS: Final = "SUOT"


def to_dtype(input_or_output: RequestInput | ResponseOutput) -> "np.dtype[Any] | None":
    """Return the dtype of a tensor's array, `None` for BYTES, whose width is in the data."""
    return DTYPE_OF.get(input_or_output.datatype)  # type: ignore[call-overload, no-any-return]  # a word


def to_datatype(dtype: "np.dtype[Any]") -> Datatype:
    """Return the datatype of arrays of `dtype`.

    Raises
    ------
    KeyError
        The protocol has no such datatype (complex numbers, points in time).
    """
    return Datatype.BYTES if dtype.kind in _TEXT_KINDS else _DATATYPE_OF[dtype.newbyteorder("=")]


def convert_nan(val: Any) -> Any:
    """Return a value, `None` for one that is not a number."""
    return None if isinstance(val, float | np.floating) and np.isnan(val) else val


def tensor_data(array: Array) -> TensorData:
    """Return the elements of an array as a tensor holds them."""
    if array.dtype.kind not in _TEXT_KINDS:
        return TensorData.of_array(array)
    elements = array.ravel().tolist()
    if array.dtype.kind != "O":
        elements = [item.encode() if isinstance(item, str) else item for item in elements]
    return TensorData(elements)


def to_array(tensor: RequestInput | ResponseOutput) -> Array:
    """Return the elements of a tensor as a new array of the tensor's shape.

    Raises
    ------
    ValueError
        The elements do not fit the shape or the datatype.
    """
    dtype = to_dtype(tensor)
    array: Array | None = getattr(
        tensor.data, "array", None
    )  # a model may have put a plain list there
    if array is not None and array.dtype == dtype:
        return array.reshape(tensor.shape).copy()  # the model may change what it is given
    return np.array(flat_list(tensor.data), dtype=dtype or _text_dtype(tensor)).reshape(
        tensor.shape
    )


def _text_dtype(tensor: RequestInput | ResponseOutput) -> Any:
    """Return `str` for text, else `bytes`: NumPy would mix the two up."""
    is_text = all(isinstance(element, str) for element in flat_list(tensor.data))
    return np.str_ if is_text else np.bytes_


@register_input_codec
class NumpyCodec(InputCodec):
    """Between an array and a tensor; arrays of one dimension get a second one, of size 1."""

    ContentType = "np"
    TypeHint = np.ndarray

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is an array."""
        return isinstance(payload, np.ndarray)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """Return an output of the array's elements; NaN is `None` in its data."""
        del kwargs
        return ResponseOutput.model_construct(
            name=name,
            datatype=to_datatype(payload.dtype).value,
            shape=inject_batch_dimension(payload.shape),
            data=tensor_data(payload),
            parameters=Parameters.model_construct(content_type=cls.ContentType),
        )

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Array:
        """Return an output as an array."""
        return to_array(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """Return an input of the array's elements."""
        return RequestInput.model_construct(**dict(cls.encode_output(name, payload, **kwargs)))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Array:
        """Return an input as an array that the caller may change."""
        return to_array(request_input)


@register_request_codec
class NumpyRequestCodec(SingleInputRequestCodec):
    """Between an array and a request of one tensor."""

    InputCodec = NumpyCodec
    ContentType = NumpyCodec.ContentType
