"""Datatypes and BYTES tensors in the spellings that Triton models use."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mpserve.model.tensor import Datatype

BytesArray = npt.NDArray[np.object_] | npt.NDArray[np.bytes_] | npt.NDArray[np.str_]

_LENGTH_BYTES: Final = 4  # little-endian length before each element

_NUMPY: Final[dict[Datatype, type]] = {
    Datatype.BOOL: np.bool_,
    Datatype.UINT8: np.uint8,
    Datatype.UINT16: np.uint16,
    Datatype.UINT32: np.uint32,
    Datatype.UINT64: np.uint64,
    Datatype.INT8: np.int8,
    Datatype.INT16: np.int16,
    Datatype.INT32: np.int32,
    Datatype.INT64: np.int64,
    Datatype.FP16: np.float16,
    Datatype.FP32: np.float32,
    Datatype.FP64: np.float64,
    Datatype.BYTES: np.object_,
}

TRITON_STRING_TO_NUMPY: Final[dict[str, type]] = {
    datatype.config_name: bool if datatype is Datatype.BOOL else scalar
    for datatype, scalar in _NUMPY.items()
}
"""`TYPE_*` word -> NumPy scalar type; BF16 has none."""


def triton_string_to_numpy(triton_type_string: str) -> type:
    """Return the NumPy type of a `TYPE_*` word; raises `KeyError` for BF16 and unknown words."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def triton_to_numpy_type(data_type: int) -> type | None:
    """Return the NumPy type of Triton's datatype number, `None` when there is none."""
    try:
        return _NUMPY.get(Datatype(data_type))
    except ValueError:
        return None


def numpy_to_triton_type(data_type: npt.DTypeLike) -> int | None:
    """Return Triton's datatype number of a NumPy type, `None` when there is none."""
    for datatype, scalar in _NUMPY.items():
        if data_type == scalar:
            return int(datatype)
    return int(Datatype.BYTES) if data_type == np.bytes_ else None


def serialize_byte_tensor(input_tensor: BytesArray) -> bytes | tuple[()] | None:
    """Return the binary form of a BYTES tensor.

    Returns
    -------
    bytes or tuple or None
        Each element with its length before it, in C order; the empty tuple for an empty array, and
        `None` for an array of another datatype, as Triton does.
    """
    if input_tensor.size == 0:
        return ()
    if input_tensor.dtype != np.object_ and input_tensor.dtype.type is not np.bytes_:
        return None
    pieces: list[bytes] = []
    for element in input_tensor.ravel(order="C").tolist():
        content = element if isinstance(element, bytes) else str(element).encode()
        pieces.append(len(content).to_bytes(_LENGTH_BYTES, "little"))
        pieces.append(content)
    return b"".join(pieces)


def deserialize_bytes_tensor(encoded_tensor: bytes) -> npt.NDArray[Any]:  # of `bytes` objects
    """Return the elements of a binary form as an object array of shape `[n]`.

    Raises
    ------
    ValueError
        When the last element is cut off.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(encoded_tensor):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(encoded_tensor[at:start], "little")
        if end > len(encoded_tensor):
            raise ValueError(
                f"BYTES tensor of {len(encoded_tensor)} bytes is cut off: element {len(elements)}"
                f" at byte {at} ends at {end}"
            )
        elements.append(bytes(encoded_tensor[start:end]))
        at = end
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array
