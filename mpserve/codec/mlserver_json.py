"""V2 inference request as MLServer reads it: body bytes -> `InferRequest`.

All faults of a body are told at once. `data` is what numpy makes of it; content types and headers
in `parameters` go to the model as they are. Beyond MLServer the binary tensor extension is taken
too, so that one client library serves both dialects.

Source: MLServer 1.7.1 as seen running.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import orjson

from mpserve.codec import field_fault
from mpserve.codec.datatype import coerce_elements, flatten
from mpserve.codec.field_fault import FieldFault, InvalidFields
from mpserve.codec.strict_json import JsonValue, check_weight, has_repeated_member
from mpserve.codec.v2_binary import BinaryPart, decode_raw
from mpserve.codec.v2_json import (
    MAX_ELEMENTS,
    MAX_PARAMETERS,
    MAX_RANK,
    RequestContext,
    check_json_size,
    check_one_source,
    element_count,
    json_object,
)
from mpserve.errors import InvalidRequest
from mpserve.model.request import (
    MAX_TENSORS,
    Bytes,
    InferRequest,
    InputTensor,
    RequestedOutput,
    shape_text,
)
from mpserve.model.tensor import Datatype

# In MLServer's order: BYTES last.
_WORDS: Final = tuple(name for name in Datatype.__members__ if name != "BF16")
_EXPECTED: Final = ", ".join(f"'{word}'" for word in _WORDS[:-1]) + f" or '{_WORDS[-1]}'"
_BINARY_OUTPUTS: Final = "binary_data_output"
_BINARY_SIZE: Final = "binary_data_size"
_BINARY_OUTPUT: Final = "binary_data"
MAX_FAULTS: Final = 100  # of a body that are told
_MAX_INT_TEXT: Final = 20  # digits

_ItemCheck: TypeAlias = Callable[..., None]  # of an object and its place


def decode(body: Bytes, *, json_bytes: int, context: RequestContext) -> InferRequest:
    """Read an inference request; parameters as of `v2_json.decode`.

    Raises
    ------
    InvalidFields
        Broken JSON, or members that are missing or of the wrong type.
    InvalidRequest
        Data that does not fit its datatype or shape.
    """
    view = memoryview(body)
    if json_bytes == 0 and view:
        return decode_raw(
            view,
            model_name=context.model_name,
            signature=context.signature,
            max_input_bytes=context.max_input_bytes,
        )
    check_json_size(json_bytes, context)
    document = parse_body(view[:json_bytes])
    faults = _RequestCheck().faults(document)
    if faults or not isinstance(document, dict):
        raise InvalidFields(*faults)
    blobs = BinaryPart(view[json_bytes:], model_name=context.model_name)
    inputs = _inputs(document, blobs)
    blobs.finish()
    parameters = _object(document.get("parameters"))
    return InferRequest(
        id=_text(document.get("id")),
        inputs=inputs,
        outputs=_outputs(document),
        binary_by_default=parameters.pop(_BINARY_OUTPUTS, False) is True,
        parameters_json=json_object(parameters),
    )


def parse_body(text: Bytes) -> JsonValue:
    """Return the JSON value of a body; an empty body is a missing one.

    Raises
    ------
    InvalidFields
        No body, or no JSON.
    """
    if not len(text):
        raise InvalidFields(field_fault.missing("body"))
    check_weight(text)
    try:
        value: JsonValue = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidFields(field_fault.invalid_json(error.pos, error.msg)) from error
    if value is None:
        raise InvalidFields(field_fault.missing("body"))
    if has_repeated_member(text, value):
        raise InvalidFields(field_fault.invalid_json(0, "a member name is given twice"))
    return value


# --- structure: which members, of which types ---------------------------------------------------


class _RequestCheck:
    """Collects the faults of one document, in the order of the peer's fields."""

    def __init__(self) -> None:
        self._faults: list[FieldFault] = []

    def faults(self, document: JsonValue) -> tuple[FieldFault, ...]:
        if not isinstance(document, dict):
            return (field_fault.not_an_object("body", found=document),)
        self._optional_text(document, "id", "body", "id")
        self._parameters(document, "body")
        if self._has(document, "inputs", "body"):
            self._each(document["inputs"], "inputs", self._input)
        if document.get("outputs") is not None:
            self._each(document["outputs"], "outputs", self._output)
        return tuple(self._faults[:MAX_FAULTS])

    def _each(self, items: JsonValue, name: str, check: _ItemCheck) -> None:
        if not isinstance(items, list):
            self._faults.append(
                field_fault.wrong_type("list_type", "list", "body", name, found=items)
            )
            return
        if len(items) > MAX_TENSORS:
            self._faults.append(field_fault.too_long(MAX_TENSORS, "body", name, found=items))
            return
        for index, item in enumerate(items):
            if isinstance(item, dict):
                check(item, "body", name, index)
            else:
                self._faults.append(field_fault.not_an_object("body", name, index, found=item))

    def _input(self, item: dict[str, JsonValue], *loc: str | int) -> None:
        if self._has(item, "name", *loc):
            self._text(item["name"], *loc, "name")
        if self._has(item, "shape", *loc):
            self._shape(item["shape"], *loc, "shape")
        if self._has(item, "datatype", *loc):
            self._datatype(item["datatype"], *loc, "datatype")
        self._parameters(item, *loc)
        parameters = item.get("parameters")
        if not isinstance(parameters, dict) or _BINARY_SIZE not in parameters:
            self._has(item, "data", *loc)

    def _output(self, item: dict[str, JsonValue], *loc: str | int) -> None:
        if self._has(item, "name", *loc):
            self._text(item["name"], *loc, "name")
        self._parameters(item, *loc)

    def _has(self, container: dict[str, JsonValue], name: str, *loc: str | int) -> bool:
        if name in container:
            return True
        self._faults.append(field_fault.missing(*loc, name, found=container))
        return False

    def _text(self, value: JsonValue, *loc: str | int) -> None:
        if not isinstance(value, str):
            self._faults.append(field_fault.wrong_type("string_type", "string", *loc, found=value))

    def _optional_text(self, container: dict[str, JsonValue], name: str, *loc: str | int) -> None:
        if container.get(name) is not None:
            self._text(container[name], *loc)

    def _datatype(self, value: JsonValue, *loc: str | int) -> None:
        if value not in _WORDS:
            self._faults.append(
                FieldFault(
                    type="enum",
                    loc=loc,
                    msg=f"Input should be {_EXPECTED}",
                    input=value,
                    ctx={"expected": _EXPECTED},
                )
            )

    def _shape(self, value: JsonValue, *loc: str | int) -> None:
        if not isinstance(value, list):
            self._faults.append(field_fault.wrong_type("list_type", "list", *loc, found=value))
            return
        if len(value) > MAX_RANK:
            self._faults.append(field_fault.too_long(MAX_RANK, *loc, found=value))
            return
        for index, size in enumerate(value):
            fault = _size_fault(size, *loc, index)
            if fault is not None:
                self._faults.append(fault)

    def _parameters(self, container: dict[str, JsonValue], *loc: str | int) -> None:
        parameters = container.get("parameters")
        if parameters is None:
            return
        if not isinstance(parameters, dict):
            self._faults.append(field_fault.not_an_object(*loc, "parameters", found=parameters))
            return
        if len(parameters) > MAX_PARAMETERS:
            place = (*loc, "parameters")
            self._faults.append(field_fault.too_long(MAX_PARAMETERS, *place, found=parameters))
            return
        self._optional_text(parameters, "content_type", *loc, "parameters", "content_type")
        headers = parameters.get("headers")
        if headers is not None and not isinstance(headers, dict):
            self._faults.append(
                field_fault.wrong_type(
                    "dict_type", "dictionary", *loc, "parameters", "headers", found=headers
                )
            )


def _size_fault(size: JsonValue, *loc: str | int) -> FieldFault | None:
    """Return why a dimension is no integer by pydantic's lax rules."""
    if isinstance(size, int):
        return None
    if isinstance(size, float):
        return _float_fault(size, *loc)
    if not isinstance(size, str):
        return field_fault.wrong_type("int_type", "integer", *loc, found=size)
    if len(size) <= _MAX_INT_TEXT and size.isascii() and size.isdigit():
        return None
    what = "integer, unable to parse string as an integer"
    return field_fault.wrong_type("int_parsing", what, *loc, found=size)


def _float_fault(size: float, *loc: str | int) -> FieldFault | None:
    if not size.is_integer():
        what = "integer, got a number with a fractional part"
        return field_fault.wrong_type("int_from_float", what, *loc, found=size)
    if abs(size) < MAX_ELEMENTS:
        return None
    return FieldFault(
        type="int_parsing_size",
        loc=loc,
        msg="Unable to parse input string as an integer, exceeded maximum size",
        input=size,
    )


# --- contents, of a document whose structure holds ----------------------------------------------


def _inputs(document: dict[str, JsonValue], blobs: BinaryPart) -> tuple[InputTensor, ...]:
    inputs: dict[str, InputTensor] = {}
    for item in _list(document["inputs"]):
        tensor = _input(_object(item), blobs)
        if tensor.name in inputs:
            raise InvalidRequest(f"input '{tensor.name}' is given twice; send it once")
        inputs[tensor.name] = tensor
    return tuple(inputs.values())


def _input(item: dict[str, JsonValue], blobs: BinaryPart) -> InputTensor:
    name = str(item["name"])
    datatype = Datatype[str(item["datatype"])]
    shape = tuple(_size(size) for size in _list(item["shape"]))
    parameters = _object(item.get("parameters"))
    check_one_source(item, parameters)
    count = element_count(shape, datatype, name=name)
    data: Bytes
    if _BINARY_SIZE in parameters:
        data = blobs.take(_binary_size(parameters.pop(_BINARY_SIZE), name), input_name=name)
    else:
        elements = _elements(item["data"])
        if len(elements) != count:
            raise InvalidRequest(
                f"input '{name}': shape {shape_text(shape)} means {count} elements, but data has "
                f"{len(elements)}"
            )
        data = coerce_elements(elements, datatype, name=name)
    return InputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        data=data,
        parameters_json=json_object(parameters),
    )


def _binary_size(value: JsonValue, name: str) -> int:
    if type(value) is not int or value < 0:
        raise InvalidRequest(f"input '{name}': {_BINARY_SIZE} must be a number of bytes")
    return value


def _elements(data: JsonValue) -> list[JsonValue]:
    return flatten(data) if isinstance(data, list) else [data]


def _size(value: JsonValue) -> int:
    assert isinstance(value, int | float | str)
    return int(value)


def _outputs(document: dict[str, JsonValue]) -> tuple[RequestedOutput, ...]:
    outputs: dict[str, RequestedOutput] = {}
    for item in _list(document.get("outputs") or []):
        output = _object(item)
        name = str(output["name"])
        parameters = _object(output.get("parameters"))
        outputs[name] = RequestedOutput(
            name=name,
            binary=parameters.pop(_BINARY_OUTPUT, False) is True,
            parameters_json=json_object(parameters),
        )
    return tuple(outputs.values())


def _object(value: JsonValue) -> dict[str, JsonValue]:
    """Return a copy of an object, empty for null."""
    return dict(value) if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None
