"""`ModelInferRequest` as Triton reads it -> `InferRequest`.

The parts are read in the peer's order, because the first thing that is wrong decides the answer:
parameters, inputs, data, outputs. Raw tensors are views of the message's bytes.

Source: triton.md 4.6. Messages are `Any`: protobuf makes their fields at run time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from mpserve.codec import proto_contents
from mpserve.codec.proto_parameters import Scalar, scalar, scalars
from mpserve.codec.v2_json import MAX_CLASSES, RESERVED_PREFIX, element_count, json_object
from mpserve.errors import InvalidRequest
from mpserve.model.region import RegionUse
from mpserve.model.request import (
    Bytes,
    InferRequest,
    InputTensor,
    RequestedOutput,
    SequenceMark,
    request_prefix,
)
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype

EMPTY_FINAL_PARAMETER: Final = "triton_enable_empty_final_response"

_REGION: Final = "shared_memory_region"
_REGION_OFFSET: Final = "shared_memory_offset"
_REGION_BYTES: Final = "shared_memory_byte_size"
_SHARED_MEMORY: Final = (_REGION, _REGION_OFFSET, _REGION_BYTES)
_CLASSIFICATION: Final = "classification"


def decode(
    message: Any,  # noqa: ANN401  see above
    *,
    model_name: str,
    signature: Signature,
) -> InferRequest:
    """Read an inference request.

    Parameters
    ----------
    message
        A `ModelInferRequest`.
    model_name, signature
        For texts.

    Raises
    ------
    InvalidRequest
        Everything that can be said without the model's signature.
    """
    request_id = message.id or None
    options = _read_parameters(message.parameters)
    declared = _read_declarations(message.inputs, request_id, model_name, signature)
    inputs = _read_data(declared, message.raw_input_contents, model_name)
    return InferRequest(
        id=request_id,
        inputs=inputs,
        outputs=_read_outputs(message.outputs),
        sequence=SequenceMark(
            number=options.sequence_number,
            text=options.sequence_text,
            starts=options.sequence_starts,
            ends=options.sequence_ends,
        ),
        priority=options.priority,
        timeout_us=options.timeout_us,
        binary_by_default=True,
        parameters_json=json_object(dict(options.custom)),
    )


# --- parameters of the request ------------------------------------------------------------------


class _Options(msgspec.Struct, kw_only=True):
    """Parameters of a request while they are read."""

    sequence_number: int = 0
    sequence_text: str = ""
    sequence_starts: bool = False
    sequence_ends: bool = False
    priority: int = 0
    timeout_us: int = 0
    custom: dict[str, Scalar] = {}

    def read_sequence_id(self, choice: str, value: Scalar) -> None:
        if choice == "int64_param":
            self.sequence_number = int(value) % (1 << 64)  # the peer's cast
        elif choice == "string_param":
            self.sequence_text = str(value)
        else:
            raise _wrong_choice("sequence_id", "int64_param or string_param")

    def read_sequence_start(self, choice: str, value: Scalar) -> None:
        self.sequence_starts = _flag("sequence_start", choice, value)

    def read_sequence_end(self, choice: str, value: Scalar) -> None:
        self.sequence_ends = _flag("sequence_end", choice, value)

    def read_priority(self, choice: str, value: Scalar) -> None:
        if choice not in {"int64_param", "uint64_param"}:
            raise _wrong_choice("priority", "int64_param or uint64_param")
        self.priority = _not_negative("priority", value)

    def read_timeout(self, choice: str, value: Scalar) -> None:
        if choice != "int64_param":
            raise _wrong_choice("timeout", "int64_param")
        self.timeout_us = _not_negative("timeout", value)

    def read_empty_final(self, choice: str, value: Scalar) -> None:
        _flag(EMPTY_FINAL_PARAMETER, choice, value)  # one answer each: it is never empty


_RESERVED: Final[Mapping[str, Callable[[_Options, str, Scalar], None]]] = {
    "sequence_id": _Options.read_sequence_id,
    "sequence_start": _Options.read_sequence_start,
    "sequence_end": _Options.read_sequence_end,
    "priority": _Options.read_priority,
    "timeout": _Options.read_timeout,
    EMPTY_FINAL_PARAMETER: _Options.read_empty_final,
}


def _read_parameters(parameters: Any) -> _Options:  # noqa: ANN401  a message's map
    options = _Options()
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice") or ""
        reader = _RESERVED.get(name)
        if reader is not None:
            reader(options, choice, getattr(parameter, choice) if choice else "")
        elif name.startswith(RESERVED_PREFIX):
            raise InvalidRequest(
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the "
                f"following keys starting with 'triton_' are allowed: {EMPTY_FINAL_PARAMETER}"
            )
        elif choice:
            options.custom[name] = getattr(parameter, choice)
        else:
            raise _wrong_choice(name, "int64_param, bool_param, or string_param")
    return options


def _flag(name: str, choice: str, value: Scalar) -> bool:
    if choice != "bool_param":
        raise _wrong_choice(name, "bool_param")
    return bool(value)


def _not_negative(name: str, value: Scalar) -> int:
    number = int(value)
    if number < 0:
        raise InvalidRequest(f"invalid value for '{name}', expected value >= 0.")
    return number


def _wrong_choice(name: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"invalid value type for '{name}' parameter, expected {expected}.")


# --- inputs -------------------------------------------------------------------------------------


class _Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """An input without its data."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    tensor: Any  # InferInputTensor


def _read_declarations(
    tensors: Sequence[Any], request_id: str | None, model_name: str, signature: Signature
) -> list[_Declaration]:
    declared: dict[str, _Declaration] = {}
    for tensor in tensors:
        if tensor.name in declared:
            raise InvalidRequest(
                f"{request_prefix(request_id)}input '{tensor.name}' already exists in request"
            )
        datatype = Datatype.__members__.get(tensor.datatype)
        if datatype is None:
            raise _no_datatype(tensor.name, request_id, model_name, signature)
        declared[tensor.name] = _Declaration(
            name=tensor.name, datatype=datatype, shape=tuple(tensor.shape), tensor=tensor
        )
    return list(declared.values())


def _no_datatype(
    name: str, request_id: str | None, model_name: str, signature: Signature
) -> InvalidRequest:
    """Return what is said of a word that is no datatype: the peer compares it with the model's."""
    for spec in signature.inputs:
        if spec.name == name and spec.datatype is not None:
            return InvalidRequest(
                f"{request_prefix(request_id)}inference input '{name}' data-type is '<invalid>', "
                f"but model '{model_name}' expects '{spec.datatype.name}'"
            )
    return InvalidRequest(f"invalid datatype for input {name}")


def _read_data(
    declared: list[_Declaration], raw: Sequence[bytes], model_name: str
) -> tuple[InputTensor, ...]:
    """Give each input its data; entries of `raw` that nobody takes are ignored."""
    blobs = iter(raw) if raw else None
    return tuple(_input(one, blobs, model_name) for one in declared)


def _input(declared: _Declaration, blobs: Iterator[bytes] | None, model_name: str) -> InputTensor:
    parameters = scalars(declared.tensor.parameters)
    region = _read_region(declared.tensor.parameters, declared.name)
    place = f"'{declared.name}' for model '{model_name}'"
    data: Bytes | None
    if region is not None:
        if declared.tensor.HasField("contents"):
            raise InvalidRequest(
                f"unexpected 'content' provided when using shared memory for input tensor {place}"
            )
        data = b""
    elif declared.tensor.HasField("contents"):
        if blobs is not None:
            raise InvalidRequest(
                f"contents field must not be specified when using raw_input_contents for {place}"
            )
        data = proto_contents.read_exact(
            declared.tensor.contents, declared.datatype, name=declared.name, model_name=model_name
        )
    else:
        data = next(blobs or iter(()), None)
        if data is None:
            raise InvalidRequest(f"unable to find data for input tensor {place} in request.")
    element_count(declared.shape, declared.datatype, name=declared.name)
    custom = {key: value for key, value in parameters.items() if key not in _SHARED_MEMORY}
    return InputTensor(
        name=declared.name,
        datatype=declared.datatype,
        shape=declared.shape,
        data=data,
        parameters_json=json_object(dict(custom)),
        region=region,
    )


def _read_region(parameters: Any, name: str) -> RegionUse | None:  # noqa: ANN401  a message's map
    """Return which shared memory the parameters of a tensor name."""
    if _REGION not in parameters:
        return None
    if _REGION_BYTES not in parameters:
        raise InvalidRequest(
            f"'{_REGION_BYTES}' must be specified along with '{_REGION}' parameter for tensor "
            f"'{name}'"
        )
    return RegionUse(
        name=str(_of_choice(parameters, _REGION, "string_param", name)),
        offset=_unsigned(parameters, _REGION_OFFSET, name),
        byte_size=_unsigned(parameters, _REGION_BYTES, name),
    )


def _unsigned(parameters: Any, key: str, name: str) -> int:  # noqa: ANN401  a message's map
    if key not in parameters:
        return 0
    return int(_of_choice(parameters, key, "int64_param", name)) % (1 << 64)  # the peer's cast


def _of_choice(
    parameters: Any,  # noqa: ANN401  a message's map
    key: str,
    choice: str,
    name: str,
) -> Scalar:
    parameter = parameters[key]
    if parameter.WhichOneof("parameter_choice") != choice:
        raise InvalidRequest(
            f"invalid value type for '{key}' parameter for tensor '{name}', expected {choice}."
        )
    value: Scalar = getattr(parameter, choice)
    return value


# --- outputs ------------------------------------------------------------------------------------


def _read_outputs(tensors: Sequence[Any]) -> tuple[RequestedOutput, ...]:
    return tuple({tensor.name: _read_output(tensor) for tensor in tensors}.values())


def _read_output(tensor: Any) -> RequestedOutput:  # noqa: ANN401  a message
    parameters = scalars(tensor.parameters)
    classes = _read_classes(tensor.parameters)
    region = _read_region(tensor.parameters, tensor.name)
    if region is not None and _CLASSIFICATION in parameters:
        raise InvalidRequest("output can't set both 'shared_memory_region' and 'classification'")
    known = {*_SHARED_MEMORY, _CLASSIFICATION}
    custom = {key: value for key, value in parameters.items() if key not in known}
    return RequestedOutput(
        name=tensor.name,
        binary=region is None,
        classification=classes,
        parameters_json=json_object(dict(custom)),
        region=region,
    )


def _read_classes(parameters: Any) -> int:  # noqa: ANN401  a message's map
    if _CLASSIFICATION not in parameters:
        return 0
    parameter = parameters[_CLASSIFICATION]
    if parameter.WhichOneof("parameter_choice") != "int64_param":
        raise InvalidRequest(
            "invalid value type for 'classification' parameter, expected int64_param"
        )
    classes = int(scalar(parameter) or 0)
    if classes <= 0:
        raise InvalidRequest("invalid value for 'classification' parameter, expected >= 0")
    return min(classes, MAX_CLASSES)
