# ruff: noqa: ANN401  # messages have no types
"""Between shapes and gRPC's messages: the names of `mlserver.grpc.converters` for inferences."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from mpserve.codec.bytes_tensor import pack, unpack
from mpserve.compat.mlserver import grpc_messages as messages
from mpserve.compat.mlserver.codecs.lists import flat_list
from mpserve.compat.mlserver.codecs.numpy import DTYPE_OF
from mpserve.compat.mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    TensorData,
)

_FIELD_OF: Final = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> member of the contents; FP16 goes raw only."""

_CHOICE_OF: Final = {bool: "bool_param", str: "string_param", int: "int64_param"}
"""Type of a parameter's value -> member of its message; a value of any other type is left out."""


class ParametersConverter:
    """Parameters."""

    @classmethod
    def to_types(cls, pb_object: Mapping[str, Any]) -> Parameters | None:
        """Return the shape, `None` for no parameters."""
        values = {name: _value(value) for name, value in pb_object.items()}
        return Parameters(**values) if values else None

    @classmethod
    def from_types(cls, type_object: Parameters) -> dict[str, Any]:
        """Return the messages by name."""
        return {
            name: messages.InferParameter(**{_CHOICE_OF[type(value)]: value})
            for name, value in type_object.model_dump().items()
            if type(value) in _CHOICE_OF
        }


class InferTensorContentsConverter:
    """Elements."""

    @classmethod
    def to_types(cls, pb_object: Any) -> TensorData:
        """Return the elements of the member that is set, flat."""
        return TensorData(
            [element for _, elements in pb_object.ListFields() for element in elements]
        )

    @classmethod
    def from_types(cls, type_object: TensorData, datatype: Datatype | str) -> Any:
        """Return the elements in the member of their datatype."""
        word = datatype.value if isinstance(datatype, Datatype) else datatype
        return messages.InferTensorContents(**{_FIELD_OF[word]: _elements(type_object, word)})


class InferInputTensorConverter:
    """Inputs of a request."""

    @classmethod
    def to_types(cls, pb_object: Any) -> RequestInput:
        """Return the shape."""
        return RequestInput(**_tensor_members(pb_object))

    @classmethod
    def from_types(cls, type_object: RequestInput) -> Any:
        """Return the message."""
        return messages.ModelInferRequest.InferInputTensor(**_tensor_fields(type_object))


class InferOutputTensorConverter:
    """Outputs of a response."""

    @classmethod
    def to_types(cls, pb_object: Any) -> ResponseOutput:
        """Return the shape."""
        return ResponseOutput(**_tensor_members(pb_object))

    @classmethod
    def from_types(cls, type_object: ResponseOutput) -> Any:
        """Return the message."""
        return messages.ModelInferResponse.InferOutputTensor(**_tensor_fields(type_object))


class InferRequestedOutputTensorConverter:
    """Outputs that a request asks for."""

    @classmethod
    def to_types(cls, pb_object: Any) -> RequestOutput:
        """Return the shape."""
        parameters = ParametersConverter.to_types(pb_object.parameters)
        return RequestOutput(name=pb_object.name, parameters=parameters)

    @classmethod
    def from_types(cls, type_object: RequestOutput) -> Any:
        """Return the message."""
        return messages.ModelInferRequest.InferRequestedOutputTensor(
            name=type_object.name, parameters=_parameters(type_object)
        )


class ModelInferRequestConverter:
    """Requests."""

    @classmethod
    def to_types(cls, pb_object: Any) -> InferenceRequest:
        """Return the shape; raw elements are read."""
        inputs = [InferInputTensorConverter.to_types(one) for one in pb_object.inputs]
        _take_raw(inputs, pb_object.raw_input_contents)
        outputs = [InferRequestedOutputTensorConverter.to_types(one) for one in pb_object.outputs]
        return InferenceRequest(
            id=pb_object.id,
            parameters=ParametersConverter.to_types(pb_object.parameters),
            inputs=inputs,
            **({"outputs": outputs} if outputs else {}),
        )

    @classmethod
    def from_types(
        cls,
        type_object: InferenceRequest,
        model_name: str,
        model_version: str | None = "",
        use_raw: bool = False,  # noqa: FBT001, FBT002  # the peer's signature
    ) -> Any:
        """Return the message for a model, its elements raw or not."""
        return messages.ModelInferRequest(
            model_name=model_name,
            model_version=model_version,
            id=type_object.id,
            parameters=_parameters(type_object),
            inputs=_tensors(InferInputTensorConverter, type_object.inputs, use_raw),
            outputs=[
                InferRequestedOutputTensorConverter.from_types(one)
                for one in type_object.outputs or ()
            ],
            raw_input_contents=[_raw(one) for one in type_object.inputs] if use_raw else (),
        )


class ModelInferResponseConverter:
    """Responses."""

    @classmethod
    def to_types(cls, pb_object: Any) -> InferenceResponse:
        """Return the shape; raw elements are read."""
        outputs = [InferOutputTensorConverter.to_types(one) for one in pb_object.outputs]
        _take_raw(outputs, pb_object.raw_output_contents)
        return InferenceResponse(
            id=pb_object.id,
            model_name=pb_object.model_name,
            model_version=pb_object.model_version or None,
            parameters=ParametersConverter.to_types(pb_object.parameters),
            outputs=outputs,
        )

    @classmethod
    def from_types(
        cls,
        type_object: InferenceResponse,
        use_raw: bool = False,  # noqa: FBT001, FBT002  # as above
    ) -> Any:
        """Return the message, its elements raw or not."""
        return messages.ModelInferResponse(
            model_name=type_object.model_name,
            model_version=type_object.model_version,
            id=type_object.id,
            parameters=_parameters(type_object),
            outputs=_tensors(InferOutputTensorConverter, type_object.outputs, use_raw),
            raw_output_contents=[_raw(one) for one in type_object.outputs] if use_raw else (),
        )


def _tensor_members(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "datatype": tensor.datatype,
        "parameters": ParametersConverter.to_types(tensor.parameters),
        "data": InferTensorContentsConverter.to_types(tensor.contents),
    }


def _tensor_fields(tensor: Any) -> dict[str, Any]:
    return {
        **_head_fields(tensor),
        "contents": InferTensorContentsConverter.from_types(tensor.data, tensor.datatype),
    }


def _head_fields(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "datatype": tensor.datatype,
        "parameters": _parameters(tensor),
    }


def _tensors(converter: Any, tensors: Sequence[Any], use_raw: bool) -> list[Any]:  # noqa: FBT001
    if not use_raw:
        return [converter.from_types(one) for one in tensors]
    inputs = converter is InferInputTensorConverter
    kind = (
        messages.ModelInferRequest.InferInputTensor
        if inputs
        else messages.ModelInferResponse.InferOutputTensor
    )
    return [kind(**_head_fields(one)) for one in tensors]


def _parameters(owner: Any) -> dict[str, Any]:
    return ParametersConverter.from_types(owner.parameters) if owner.parameters else {}


def _elements(data: TensorData, datatype: str) -> list[Any]:
    elements = flat_list(data)
    if datatype != Datatype.BYTES.value:
        return elements
    return [one.encode() if isinstance(one, str) else one for one in elements]


def _raw(tensor: Any) -> bytes:
    elements = _elements(tensor.data, tensor.datatype)
    if tensor.datatype == Datatype.BYTES.value:
        return pack(elements)
    return np.asarray(elements, DTYPE_OF[tensor.datatype]).tobytes()


def _take_raw(tensors: Sequence[Any], contents: Sequence[bytes]) -> None:
    """Read raw elements into the tensors that have none otherwise."""
    waiting = iter(contents)
    for tensor in tensors if contents else ():
        if len(tensor.data) == 0:
            raw = next(waiting)
            is_text = tensor.datatype == Datatype.BYTES.value
            read = unpack(raw) if is_text else _numbers(raw, tensor.datatype)
            tensor.data = TensorData(read)


def _numbers(raw: bytes, datatype: str) -> list[Any]:
    found: list[Any] = np.frombuffer(raw, DTYPE_OF[datatype]).tolist()
    return found


def _value(parameter: Any) -> Any:
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None
