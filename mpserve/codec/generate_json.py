"""`generate` and `generate_stream`: a flat JSON object -> request, and an answer -> such an object.

A member that is named like an input of the model is that tensor; `id` is the request's;
`parameters` is an object of further members; all others are parameters. Shapes are made to fit:
fixed dimensions divide the number of elements, the innermost open one takes the rest.

Source: triton.md 3.9.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from mpserve.codec.datatype import encode_elements
from mpserve.codec.json_member import NO_MEMBERS, NOT_AN_OBJECT, as_string
from mpserve.codec.strict_json import JsonValue, parse
from mpserve.codec.v2_json import RequestContext, check_json_size, json_object
from mpserve.codec.v2_response import AnswerContext, AnsweredTensor, data_text
from mpserve.errors import InvalidRequest, MalformedRequest
from mpserve.model.request import Bytes, InferRequest, InputTensor
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype

NOT_ONE_RESPONSE: Final = (
    "generate expects model to produce exactly 1 response, use generate stream for model that "
    "generates various number of responses"
)
_ID: Final = "id"
_PARAMETERS: Final = "parameters"
_NOT_IN_JSON: Final = frozenset({Datatype.FP16, Datatype.BF16})


def decode(body: Bytes, *, context: RequestContext) -> InferRequest:
    """Read a request.

    Raises
    ------
    MalformedRequest
        Broken JSON, or an element of the wrong JSON type.
    InvalidRequest
        Everything else, in the peer's words where it has some.
    """
    check_json_size(len(body), context)
    specs = _specs(context)
    document = parse(body)
    if not isinstance(document, dict):
        raise MalformedRequest(NO_MEMBERS)
    request_id: str | None = None
    inputs: dict[str, InputTensor] = {}
    parameters: dict[str, JsonValue] = {}
    for name, value in _members(document):
        spec = specs.get(name)
        if spec is not None:
            inputs[name] = _tensor(value, spec, context)
        elif name == _ID:
            request_id = as_string(value, _ID)
        else:
            parameters[name] = _parameter(name, value)
    return InferRequest(
        id=request_id, inputs=tuple(inputs.values()), parameters_json=json_object(parameters)
    )


def answer_text(
    outputs: Sequence[AnsweredTensor],
    *,
    request: InferRequest,
    parameters_json: str,
    context: AnswerContext,
) -> bytes:
    """Return an answer as one flat object, its members sorted by name.

    Raises
    ------
    InvalidRequest, InternalError
        As `v2_response.encode`.
    """
    parameters: dict[str, Any] = orjson.loads(parameters_json or "{}")
    members = {name: orjson.dumps(value) for name, value in parameters.items()}
    for tensor in outputs:
        members[tensor.name] = _value_text(tensor, context)
    members["model_name"] = orjson.dumps(context.model_name)
    members["model_version"] = orjson.dumps(context.model_version)
    if request.id:
        members[_ID] = orjson.dumps(request.id)
    texts = (orjson.dumps(name) + b":" + members[name] for name in sorted(members))
    return b"{" + b",".join(texts) + b"}"


def _specs(context: RequestContext) -> dict[str, TensorSpec]:
    if context.signature.open_inputs:
        raise InvalidRequest(
            f"model '{context.model_name}' does not declare its inputs, which generate needs; use "
            f"infer"
        )
    specs = {spec.name: spec for spec in context.signature.inputs}
    if _PARAMETERS in specs:
        raise InvalidRequest(
            f"Keyword '{_PARAMETERS}' for nested schema also given as input tensor name"
        )
    return specs


def _members(document: dict[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    for name, value in document.items():
        if name != _PARAMETERS:
            yield name, value
        elif isinstance(value, dict):
            yield from value.items()
        else:
            raise MalformedRequest(
                f"Expected JSON object for keyword: '{_PARAMETERS}': {NOT_AN_OBJECT}"
            )


def _tensor(value: JsonValue, spec: TensorSpec, context: RequestContext) -> InputTensor:
    assert spec.datatype is not None  # declared inputs have one
    assert spec.shape is not None
    if spec.datatype in _NOT_IN_JSON:
        raise InvalidRequest(
            f"receiving {spec.datatype.name} data via JSON is not supported. Please use the binary "
            f"data format for input {spec.name}"
        )
    elements = value if isinstance(value, list) else [value]
    if len(elements) * spec.datatype.item_bytes > context.max_input_bytes:
        raise InvalidRequest(
            f"JSON input '{spec.name}' has a byte_size ({len(elements) * spec.datatype.item_bytes} "
            f"bytes) that exceeds the maximum allowed value of {context.max_input_bytes} bytes. "
            f"Use --http-max-input-size to increase the limit."
        )
    return InputTensor(
        name=spec.name,
        datatype=spec.datatype,
        shape=fitting_shape(spec, len(elements)),
        data=encode_elements(elements, spec.datatype),
    )


def fitting_shape(spec: TensorSpec, count: int) -> tuple[int, ...]:
    """Return the shape of an input that is given by `count` elements.

    Raises
    ------
    InvalidRequest
        No shape of the input has so many elements.
    """
    dims = list(spec.shape or ())
    for size in reversed(dims):
        if size != -1:
            if size == 0 or count % size:
                raise _no_shape(spec)
            count //= size
    for index in reversed(range(len(dims))):
        if dims[index] == -1:
            dims[index], count = count, 1
    if count != 1:
        raise _no_shape(spec)
    return tuple(dims)


def _no_shape(spec: TensorSpec) -> InvalidRequest:
    return InvalidRequest(
        f"The schema can not convert input '{spec.name}' to tensor with proper shape"
    )


def _parameter(name: str, value: JsonValue) -> JsonValue:
    if isinstance(value, str | bool | int | float):
        return value
    raise InvalidRequest(
        f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
    )


def _value_text(tensor: AnsweredTensor, context: AnswerContext) -> bytes:
    """Return the elements as a flat array, or the element when there is one."""
    text = data_text(
        tensor.data,
        name=tensor.name,
        datatype=Datatype[tensor.datatype],
        shape=tuple(tensor.shape),
        dialect=context.dialect,
    )
    has_one = all(size == 1 for size in tensor.shape)
    return text[1:-1] if has_one else text
