"""A decoded request against the model's signature, so that a bad one never reaches a worker.

Pure. Checks come in the order of Triton's core, because the first that fails decides the answer.
Source: `InferenceRequest::Normalize` as specified, with the texts of 2.51.
"""

import math
import struct
from collections.abc import Iterable
from typing import Final

from mpserve.errors import InvalidRequest
from mpserve.model.request import MAX_TENSORS, InferRequest, InputTensor, shape_text
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype

_LENGTH: Final = struct.Struct("<I")
_BATCH_NOTE: Final = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim "
    "in your input dims config, try setting max_batch_size to zero. See the model configuration "
    "docs for more info on max_batch_size."
)


def validate(request: InferRequest, *, signature: Signature, model_name: str) -> None:
    """Refuse a request that the model can not take.

    Raises
    ------
    InvalidRequest
        With the peer's text for the first thing that does not fit.
    """
    _Check(request, signature, model_name).run()


class _Check:
    def __init__(self, request: InferRequest, signature: Signature, model_name: str) -> None:
        self._request = request
        self._signature = signature
        self._of_model = f"for model '{model_name}'"
        self._model_name = model_name

    def run(self) -> None:
        self._outputs()
        self._tensor_count()
        if self._signature.open_inputs:
            for tensor in self._request.inputs:
                self._data_size(tensor)
            return
        self._input_names()
        if self._signature.max_batch_size > 0:
            self._batch()
        specs = {spec.name: spec for spec in self._signature.inputs}
        for tensor in self._request.inputs:
            self._input(tensor, specs)

    def _outputs(self) -> None:
        if self._signature.open_outputs:
            return
        known = {spec.name for spec in self._signature.outputs}
        for output in self._request.outputs:
            if output.name not in known:
                raise InvalidRequest(
                    f"unexpected inference output '{output.name}' {self._of_model}"
                )

    def _tensor_count(self) -> None:
        for kind, count in (
            ("inputs", len(self._request.inputs)),
            ("outputs", len(self._request.outputs)),
        ):
            if count > MAX_TENSORS:
                raise self._refusal(
                    f"got {count} {kind} {self._of_model}, at most {MAX_TENSORS} are supported"
                )

    def _input_names(self) -> None:
        expected = self._signature.inputs
        required = [spec.name for spec in expected if not spec.optional]
        got = [tensor.name for tensor in self._request.inputs]
        missing = set(required) - set(got)
        all_known = set(got) <= {spec.name for spec in expected}
        if len(required) <= len(got) <= len(expected) and not (missing and all_known):
            return  # an unknown name among the right number is told by itself
        numbers = (
            f"expected {len(expected)} inputs but"
            if len(required) == len(expected)
            else f"expected number of inputs between {len(required)} and {len(expected)} but"
        )
        raise self._refusal(
            f"{numbers} got {len(got)} inputs {self._of_model}. Got input(s) {_name_list(got)}, "
            f"but missing required input(s) {_name_list(missing)}. Please provide all required "
            f"input(s)."
        )

    def _batch(self) -> None:
        batch: int | None = None
        for tensor in self._request.inputs:
            if not tensor.shape:
                raise self._refusal(
                    f"input '{tensor.name}' has no shape but model requires batch dimension for "
                    f"'{self._model_name}'"
                )
            if batch is not None and tensor.shape[0] != batch:
                raise self._refusal(
                    f"input '{tensor.name}' batch size does not match other inputs for "
                    f"'{self._model_name}'"
                )
            batch = tensor.shape[0]
        limit = self._signature.max_batch_size
        if batch is not None and batch > limit:
            raise self._refusal(
                f"inference request batch-size must be <= {limit} for '{self._model_name}'"
            )

    def _input(self, tensor: InputTensor, specs: dict[str, TensorSpec]) -> None:
        spec = specs.get(tensor.name)
        if spec is None:
            raise InvalidRequest(f"unexpected inference input '{tensor.name}' {self._of_model}")
        if spec.datatype not in {None, tensor.datatype}:
            assert spec.datatype is not None
            raise self._refusal(
                f"inference input '{tensor.name}' data-type is '{tensor.datatype.name}', but model "
                f"'{self._model_name}' expects '{spec.datatype.name}'"
            )
        if spec.shape is not None and not spec.ragged and not fits(tensor.shape, spec.shape):
            note = _BATCH_NOTE if self._signature.max_batch_size > 0 else ""
            raise self._refusal(
                f"unexpected shape for input '{tensor.name}' {self._of_model}. Expected "
                f"{shape_text(spec.shape)}, got {shape_text(tensor.shape)}. {note}"
            )
        self._data_size(tensor)

    def _data_size(self, tensor: InputTensor) -> None:
        count = math.prod(tensor.shape)
        if tensor.datatype is Datatype.BYTES:
            self._elements(tensor, count)
            return
        expected = count * tensor.datatype.item_bytes
        if tensor.data_bytes != expected:
            raise self._refusal(
                f"input byte size mismatch for input '{tensor.name}' {self._of_model}. Expected "
                f"{expected}, got {tensor.data_bytes}"
            )

    def _elements(self, tensor: InputTensor, expected: int) -> None:
        place = f"for inference input '{tensor.name}' {self._of_model}"
        view = memoryview(tensor.data)
        count, at = 0, 0
        while at < len(view):
            if count >= expected:
                raise self._refusal(
                    f"unexpected number of string elements {count + 1} {place}, expecting "
                    f"{expected}"
                )
            left = len(view) - at
            if left < _LENGTH.size:
                raise self._refusal(
                    f"incomplete string length indicator {place}, expecting {_LENGTH.size} bytes "
                    f"but only {left} bytes available. Please make sure the string length "
                    f"indicator is in one buffer."
                )
            (length,) = _LENGTH.unpack_from(view, at)
            at += _LENGTH.size
            if length > len(view) - at:
                raise self._refusal(
                    f"incomplete string data {place}, expecting string of length {length} but only "
                    f"{len(view) - at} bytes available. Please make sure the string is in one "
                    f"buffer."
                )
            at += length
            count += 1
        if count != expected:
            raise self._refusal(f"expected {expected} string elements {place}, got {count}")

    def _refusal(self, text: str) -> InvalidRequest:
        return InvalidRequest(self._request.prefix + text)


def fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether a shape is what a signature wants; -1 there stands for any size."""
    return len(shape) == len(wanted) and all(
        want in {-1, size} for size, want in zip(shape, wanted, strict=True)
    )


def _name_list(names: Iterable[str]) -> str:
    return "[" + ",".join(f"'{name}'" for name in sorted(names)) + "]"
