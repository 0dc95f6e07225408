"""The binary tensor extension: where the JSON part of a body ends, and the tensors behind it.

Source: Triton's HTTP frontend; KServe V2 "Binary Tensor Data Extension".
"""

import re
from typing import Final

from mpserve.codec.bytes_tensor import LENGTH, MAX_ELEMENT_BYTES
from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.request import Bytes, InferRequest, InputTensor, request_prefix
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype

HEADER_NAME: Final = "Inference-Header-Content-Length"

_INTEGER: Final = re.compile(r"[ \t]*[+-]?[0-9]+[ \t]*", re.ASCII)
_INT32_MIN: Final = -(1 << 31)
_INT32_MAX: Final = (1 << 31) - 1
_MAX_DIGITS: Final = 20  # Python refuses to convert very long texts


def json_part_bytes(header: str | None, *, body_bytes: int) -> int:
    """Return how many bytes of a body are JSON; 0 means that the whole body is one raw tensor.

    Parameters
    ----------
    header
        Value of `Inference-Header-Content-Length`, `None` when the client sent none.

    Raises
    ------
    InvalidRequest
        Not a number, or not within the body.
    """
    if header is None:
        return body_bytes
    if not _INTEGER.fullmatch(header):
        raise InvalidRequest(f"Unable to parse {HEADER_NAME}, got: {header}")
    digits = header.strip().lstrip("+-0")
    number = int(header) if len(digits) <= _MAX_DIGITS else _INT32_MAX + 1
    if not _INT32_MIN <= number <= _INT32_MAX:
        raise InvalidRequest(
            f"Unable to parse {HEADER_NAME}, value is out of range "
            f"[ {_INT32_MIN}, {_INT32_MAX} ], got: {header}"
        )
    if not 0 <= number <= body_bytes:
        raise InvalidRequest(
            f"inference header size should be in range (0, {body_bytes}), got: {number}"
        )
    return number


class BinaryPart:
    """The binary tensors of one body, taken one after another."""

    def __init__(self, tensors: memoryview, *, model_name: str) -> None:
        self._tensors = tensors
        self._model_name = model_name
        self._at = 0

    def take(self, size: int, *, input_name: str) -> memoryview:
        """Return the next tensor, a view of the body.

        Raises
        ------
        InvalidRequest
            The body ends before.
        """
        missing = self._at + size - len(self._tensors)
        if missing > 0:
            raise InvalidRequest(
                f"unexpected size for input '{input_name}', expecting {missing} additional bytes "
                f"for model '{self._model_name}'"
            )
        self._at += size
        return self._tensors[self._at - size : self._at]

    def finish(self) -> None:
        """Refuse what no input asked for."""
        if self._at < len(self._tensors):
            raise InvalidRequest(f"unexpected additional input data for model '{self._model_name}'")


def decode_raw(
    body: Bytes, *, model_name: str, signature: Signature, max_input_bytes: int
) -> InferRequest:
    """Return the request that a body without JSON means: one input, all outputs binary.

    The shape is the configured one with batch 1; one variable dimension is deduced from the size.

    Raises
    ------
    InvalidRequest
        The model has another number of inputs, or the shape can not be deduced.
    """
    data = memoryview(body)
    if len(data) > max_input_bytes:
        raise InvalidRequest(
            f"Raw input has a byte_size ({len(data)} bytes) that exceeds the maximum allowed value "
            f"of {max_input_bytes} bytes. Use --http-max-input-size to increase the limit."
        )
    if len(signature.inputs) != 1:
        raise InvalidRequest(
            f"{request_prefix(None)}Raw request must only have 1 input (found 1) to be deduced but "
            f"got {len(signature.inputs)} inputs in '{model_name}' model configuration"
        )
    spec = signature.inputs[0]
    if spec.datatype is None or spec.shape is None:
        raise Unsupported(
            f"model '{model_name}' does not declare datatype and shape of '{spec.name}', so a raw "
            f"request can not be understood; send a JSON request"
        )
    tensor = _raw_tensor(
        data, spec, spec.datatype, spec.shape, batches=signature.max_batch_size > 0
    )
    _check_raw_size(tensor, model_name)
    return InferRequest(inputs=(tensor,), binary_by_default=True)


def _raw_tensor(
    data: memoryview,
    spec: TensorSpec,
    datatype: Datatype,
    full_shape: tuple[int, ...],
    *,
    batches: bool,
) -> InputTensor:
    dims = full_shape[1:] if batches else full_shape
    if datatype is Datatype.BYTES:
        return _raw_text(data, spec.name, dims, batches=batches)
    variable = [index for index, size in enumerate(dims) if size < 0]
    if len(variable) > 1:
        raise InvalidRequest(
            f"{request_prefix(None)}The shape of the raw input '{spec.name}' can not be deduced "
            f"because there are more than one variable-sized dimension"
        )
    known = 1
    for size in dims:
        known *= size if size >= 0 else 1
    deduced = len(data) // (known * datatype.item_bytes) if known else 0
    shape = tuple(size if size >= 0 else deduced for size in dims)
    return InputTensor(
        name=spec.name, datatype=datatype, shape=(1, *shape) if batches else shape, data=data
    )


def _raw_text(data: memoryview, name: str, dims: tuple[int, ...], *, batches: bool) -> InputTensor:
    if dims != (1,) or len(data) > MAX_ELEMENT_BYTES:
        raise InvalidRequest(
            f"{request_prefix(None)}For BYTE datatype raw input '{name}', the model must have "
            f"input shape [1]"
        )
    return InputTensor(
        name=name,
        datatype=Datatype.BYTES,
        shape=(1, 1) if batches else (1,),
        data=LENGTH.pack(len(data)) + bytes(data),
    )


def _check_raw_size(tensor: InputTensor, model_name: str) -> None:
    expected = tensor.datatype.item_bytes
    for size in tensor.shape:
        expected *= size
    if tensor.datatype is not Datatype.BYTES and expected != len(tensor.data):
        raise InvalidRequest(
            f"{request_prefix(None)}input byte size mismatch for input 'raw_input' for model "
            f"'{model_name}'. Expected {expected}, got {len(tensor.data)}"
        )
