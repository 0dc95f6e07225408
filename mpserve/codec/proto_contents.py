"""`InferTensorContents`, the typed form of tensors in protobuf messages <-> binary tensor data.

Source: triton.md 4.6 (Triton's fields by datatype, and its texts); MLServer 1.7.1, which takes the
first field that is set, whatever the datatype. Messages are `Any`: protobuf makes their fields at
run time.
"""

from collections.abc import Mapping
from typing import Any, Final

from mpserve.codec import bytes_tensor
from mpserve.codec.datatype import DTYPES, coerce_elements
from mpserve.errors import InvalidRequest
from mpserve.model.request import Bytes
from mpserve.model.tensor import Datatype

_FIELDS: Final[Mapping[Datatype, str]] = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
_OWN_TYPES: Final[Mapping[str, Datatype]] = {
    "bool_contents": Datatype.BOOL,
    "int_contents": Datatype.INT32,
    "int64_contents": Datatype.INT64,
    "uint_contents": Datatype.UINT32,
    "uint64_contents": Datatype.UINT64,
    "fp32_contents": Datatype.FP32,
    "fp64_contents": Datatype.FP64,
    "bytes_contents": Datatype.BYTES,
}
"""Field -> the datatype it holds without a loss, in the order of the field numbers."""


def read_exact(
    contents: Any,  # noqa: ANN401  a message
    datatype: Datatype,
    *,
    name: str,
    model_name: str,
) -> bytes:
    """Return the elements of an input in binary form, by Triton's rules.

    Integers are cut to the datatype's width silently.

    Raises
    ------
    InvalidRequest
        They are in the field of another datatype, or in several.
    """
    given = [field for field in _OWN_TYPES if len(getattr(contents, field))]
    wanted = _FIELDS.get(datatype, "")
    place = f"for input tensor '{name}' for model '{model_name}'"
    for field in given:
        if field != wanted:
            raise InvalidRequest(
                f"unexpected explicit tensor data {place} of type '{_OWN_TYPES[field].name}', "
                f"expected datatype '{datatype.name}'"
            )
    if not wanted:
        raise InvalidRequest(f"unable to find data {place} in request.")
    return _packed(getattr(contents, wanted), wanted, datatype)


def read_first(contents: Any, datatype: Datatype, *, name: str) -> bytes:  # noqa: ANN401
    """Return the elements of an input in binary form, by MLServer's rules.

    Raises
    ------
    InvalidRequest
        The elements of the first field that is set can not be converted.
    """
    given = [field for field in _OWN_TYPES if len(getattr(contents, field))]
    if not given:
        return b""
    elements = getattr(contents, given[0])
    if given[0] == _FIELDS.get(datatype):
        return _packed(elements, given[0], datatype)
    if given[0] == "bytes_contents":
        texts = [element.decode("utf-8", "replace") for element in elements]
        return coerce_elements(texts, datatype, name=name)
    return coerce_elements(list(elements), datatype, name=name)


def is_typed(datatype: Datatype) -> bool:
    """Tell whether a tensor has a typed form at all; FP16 and BF16 have none."""
    return datatype in _FIELDS


def write(contents: Any, datatype: Datatype, data: Bytes) -> None:  # noqa: ANN401  a message
    """Put the elements of an output into the field of its datatype."""
    field = getattr(contents, _FIELDS[datatype])
    if datatype is Datatype.BYTES:
        field.extend(bytes_tensor.unpack(data))
        return
    import numpy as np  # noqa: PLC0415  # see `datatype`

    field.extend(np.frombuffer(data, dtype=DTYPES[datatype]).tolist())


def _packed(elements: Any, field: str, datatype: Datatype) -> bytes:  # noqa: ANN401  repeated field
    if datatype is Datatype.BYTES:
        return bytes_tensor.pack(elements)
    import numpy as np  # noqa: PLC0415  # see `datatype`

    wide = np.array(elements, dtype=DTYPES[_OWN_TYPES[field]])
    return wide.astype(DTYPES[datatype], copy=False).tobytes()
