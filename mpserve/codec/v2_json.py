"""V2 inference request as Triton reads it: body bytes -> `InferRequest`.

Members are read in the peer's order, because the first thing that is wrong decides the answer.
Nothing here knows the model but the raw request, which has no other way to a shape.

Source: Triton's HTTP frontend, with the texts of 2.51.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec
import orjson

from mpserve.codec.datatype import encode_elements, flatten
from mpserve.codec.json_member import (
    MAX_UINT64,
    NOT_AN_OBJECT,
    NOT_UNSIGNED,
    as_array,
    as_bool,
    as_object,
    as_string,
    as_unsigned,
    member,
    unparsable,
)
from mpserve.codec.strict_json import JsonValue, parse
from mpserve.codec.v2_binary import BinaryPart, decode_raw
from mpserve.errors import InvalidRequest, MalformedRequest
from mpserve.model.region import RegionUse
from mpserve.model.request import (
    MAX_TENSORS,
    Bytes,
    InferRequest,
    InputTensor,
    RequestedOutput,
    SequenceMark,
    request_prefix,
    shape_text,
)
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype

MAX_RANK: Final = 32  # as many as a message in shared memory holds (message.hpp)
MAX_PARAMETERS: Final = 4096  # of a request or a tensor; nobody needs more
MAX_CLASSES: Final = (1 << 32) - 1  # as many as a message can ask for; more than any output has
MAX_ELEMENTS: Final = (1 << 63) - 1
RESERVED_PREFIX: Final = "triton_"

_REGION: Final = "shared_memory_region"
_REGION_OFFSET: Final = "shared_memory_offset"
_REGION_BYTES: Final = "shared_memory_byte_size"
_NOT_IN_JSON: Final = frozenset({Datatype.FP16, Datatype.BF16})
_INPUT_PARAMETERS: Final = frozenset(
    {
        "binary_data_size",
        _REGION,
        _REGION_OFFSET,
        _REGION_BYTES,
    }
)
_OUTPUT_PARAMETERS: Final = _INPUT_PARAMETERS - {"binary_data_size"} | {
    "binary_data",
    "classification",
}


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a codec must know to read a body.

    Attributes
    ----------
    max_input_bytes
        Largest JSON text, and largest tensor made from one.
    """

    model_name: str
    signature: Signature
    max_input_bytes: int


def decode(body: Bytes, *, json_bytes: int, context: RequestContext) -> InferRequest:
    """Read an inference request.

    Parameters
    ----------
    body
        After decompression. The tensors of the result may be views of it.
    json_bytes
        Length of the JSON part (`v2_binary.json_part_bytes`); 0 for a raw request.

    Raises
    ------
    MalformedRequest
        Broken JSON, or a member that is missing or of the wrong JSON type.
    InvalidRequest
        Everything else that can be said without the model's signature.
    """
    view = memoryview(body)
    if json_bytes == 0:
        return decode_raw(
            view,
            model_name=context.model_name,
            signature=context.signature,
            max_input_bytes=context.max_input_bytes,
        )
    check_json_size(json_bytes, context)
    root = parse(view[:json_bytes])
    document = root if isinstance(root, dict) else {}
    request_id = as_string(document["id"], "id") if "id" in document else None
    options = _read_parameters(document)
    blobs = BinaryPart(view[json_bytes:], model_name=context.model_name)
    inputs = _read_inputs(document, request_id, blobs, context)
    blobs.finish()
    return InferRequest(
        id=request_id,
        inputs=inputs,
        outputs=_read_outputs(document, request_id, context),
        sequence=options.sequence(),
        priority=options.priority,
        timeout_us=options.timeout_us,
        binary_by_default=options.binary_by_default,
        parameters_json=json_object(options.custom),
    )


def check_json_size(json_bytes: int, context: RequestContext) -> None:
    """Refuse a JSON text that is larger than inputs may be."""
    if json_bytes > context.max_input_bytes:
        raise InvalidRequest(
            f"request JSON size of {json_bytes} bytes exceeds the maximum allowed input size of "
            f"{context.max_input_bytes} bytes. Use --http-max-input-size to increase the limit."
        )


def json_object(members: dict[str, JsonValue]) -> str:
    """Return the members as a JSON object, "" when there are none."""
    return orjson.dumps(members).decode() if members else ""


def element_count(shape: tuple[int, ...], datatype: Datatype, *, name: str) -> int:
    """Return the number of elements of a client's shape.

    Raises
    ------
    InvalidRequest
        The number, or the size in bytes, is past 2^63 - 1, or there are too many dimensions.
    """
    if len(shape) > MAX_RANK:
        raise InvalidRequest(
            f"invalid shape for input '{name}': {len(shape)} dimensions, at most {MAX_RANK} are "
            f"supported"
        )
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise InvalidRequest(
            f"invalid shape for input '{name}': shape {shape_text(shape)} causes total element "
            f"count to exceed maximum size of {MAX_ELEMENTS}"
        )
    if any(size < 0 or size > MAX_ELEMENTS for size in shape):
        raise InvalidRequest(
            f"invalid shape for input '{name}': shape {shape_text(shape)} contains one or more "
            f"invalid dimensions"
        )
    if count * datatype.item_bytes > MAX_ELEMENTS:
        raise InvalidRequest(
            f"byte size overflow for input '{name}': element count ({count}) * data type size "
            f"({datatype.item_bytes}) exceeds maximum allowed size ({MAX_ELEMENTS})"
        )
    return count


# --- parameters of the request ------------------------------------------------------------------


class _Options(msgspec.Struct, kw_only=True):
    """Parameters of a request while they are read."""

    sequence_number: int = 0
    sequence_text: str = ""
    sequence_starts: bool = False
    sequence_ends: bool = False
    priority: int = 0
    timeout_us: int = 0
    binary_by_default: bool = False
    custom: dict[str, JsonValue] = {}

    def sequence(self) -> SequenceMark:
        return SequenceMark(
            number=self.sequence_number,
            text=self.sequence_text,
            starts=self.sequence_starts,
            ends=self.sequence_ends,
        )

    def read_sequence_id(self, value: JsonValue) -> None:
        if type(value) is int and value >= 0:
            self.sequence_number = as_unsigned(value, "sequence_id")
        else:
            self.sequence_text = as_string(value, "sequence_id")

    def read_sequence_start(self, value: JsonValue) -> None:
        self.sequence_starts = as_bool(value, "sequence_start")

    def read_sequence_end(self, value: JsonValue) -> None:
        self.sequence_ends = as_bool(value, "sequence_end")

    def read_priority(self, value: JsonValue) -> None:
        self.priority = as_unsigned(value, "priority")

    def read_timeout(self, value: JsonValue) -> None:
        self.timeout_us = as_unsigned(value, "timeout")

    def read_binary_data_output(self, value: JsonValue) -> None:
        self.binary_by_default = as_bool(value, "binary_data_output")


_RESERVED: Final[dict[str, Callable[[_Options, JsonValue], None]]] = {
    "sequence_id": _Options.read_sequence_id,
    "sequence_start": _Options.read_sequence_start,
    "sequence_end": _Options.read_sequence_end,
    "priority": _Options.read_priority,
    "timeout": _Options.read_timeout,
    "binary_data_output": _Options.read_binary_data_output,
}


def _read_parameters(document: dict[str, JsonValue]) -> _Options:
    options = _Options()
    for name, value in _parameters(document).items():
        if name.startswith(RESERVED_PREFIX):
            raise InvalidRequest(
                "parameter keys starting with 'triton_' are reserved for Triton usage and should "
                "not be specified."
            )
        reader = _RESERVED.get(name)
        if reader is not None:
            reader(options, value)
        elif isinstance(value, str | bool | int | float):
            options.custom[name] = value
        else:
            raise InvalidRequest(
                f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or "
                f"'string'."
            )
    return options


def _parameters(container: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if "parameters" not in container:
        return {}
    parameters = as_object(container["parameters"], "parameters")
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidRequest(
            f"got {len(parameters)} parameters in one place, at most {MAX_PARAMETERS} are supported"
        )
    return parameters


# --- inputs -------------------------------------------------------------------------------------


def _read_inputs(
    document: dict[str, JsonValue],
    request_id: str | None,
    blobs: BinaryPart,
    context: RequestContext,
) -> tuple[InputTensor, ...]:
    inputs: dict[str, InputTensor] = {}
    items = as_array(member(document, "inputs"), "inputs")
    check_count(items, "inputs", context.model_name, request_id)
    for item in items:
        if not isinstance(item, dict):
            raise unparsable("inputs", NOT_AN_OBJECT)
        name = as_string(member(item, "name"), "name")
        word = as_string(member(item, "datatype"), "datatype")
        dims = as_array(member(item, "shape"), "shape")
        shape = tuple(as_unsigned(size, "shape") for size in dims)
        if name in inputs:
            raise InvalidRequest(
                f"{request_prefix(request_id)}input '{name}' already exists in request"
            )
        datatype = Datatype.__members__.get(word)
        if datatype is None:
            raise InvalidRequest(f"invalid datatype for input {name}")
        inputs[name] = _read_tensor(item, name, datatype, shape, blobs, context)
    return tuple(inputs.values())


def _read_tensor(
    item: dict[str, JsonValue],
    name: str,
    datatype: Datatype,
    shape: tuple[int, ...],
    blobs: BinaryPart,
    context: RequestContext,
) -> InputTensor:
    parameters = _parameters(item)
    check_one_source(item, parameters)
    data: Bytes
    region = region_use(parameters)
    if region is not None:
        element_count(shape, datatype, name=name)
        data = b""
    elif "binary_data_size" in parameters:
        size = as_unsigned(parameters["binary_data_size"], "binary_data_size")
        element_count(shape, datatype, name=name)
        data = blobs.take(size, input_name=name)
    else:
        data = _json_data(item["data"], name, datatype, shape, context)
    custom = {key: value for key, value in parameters.items() if key not in _INPUT_PARAMETERS}
    return InputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        data=data,
        parameters_json=json_object(custom),
        region=region,
    )


def check_count(items: list[JsonValue], kind: str, model_name: str, request_id: str | None) -> None:
    """Refuse more tensors than a request can have before any is read."""
    if len(items) > MAX_TENSORS:
        raise InvalidRequest(
            f"{request_prefix(request_id)}got {len(items)} {kind} for model '{model_name}', at "
            f"most {MAX_TENSORS} are supported"
        )


def check_one_source(item: dict[str, JsonValue], parameters: dict[str, JsonValue]) -> None:
    """Refuse an input whose data is in no place, or in several."""
    given = [
        f"'{name}'"
        for name, container in (
            ("data", item),
            ("binary_data_size", parameters),
            ("shared_memory_region", parameters),
        )
        if name in container
    ]
    if len(given) != 1:
        found = f"But set {' '.join(given)}" if given else "But no field is set"
        raise InvalidRequest(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in "
            f"'parameters', 'shared_memory_region' in 'parameters'. {found}"
        )


def _json_data(
    value: JsonValue,
    name: str,
    datatype: Datatype,
    shape: tuple[int, ...],
    context: RequestContext,
) -> bytes:
    if datatype in _NOT_IN_JSON:
        raise InvalidRequest(
            f"receiving {datatype.name} data via JSON is not supported. Please use the binary data "
            f"format for input {name}"
        )
    count = element_count(shape, datatype, name=name)
    if count * datatype.item_bytes > context.max_input_bytes:
        raise InvalidRequest(
            f"JSON input '{name}' has a byte_size ({count * datatype.item_bytes} bytes) that "
            f"exceeds the maximum allowed value of {context.max_input_bytes} bytes. Use "
            f"--http-max-input-size to increase the limit."
        )
    elements = flatten(as_array(value, "data"))
    if datatype is Datatype.BYTES:
        return encode_elements(elements, datatype)  # the core counts them, with its own words
    encoded = encode_elements(elements[:count], datatype)
    if len(elements) != count:
        raise unparsable("data", "Shape does not match true shape of 'data' field")
    return encoded


def region_use(parameters: dict[str, JsonValue]) -> RegionUse | None:
    """Return which shared memory the parameters of a tensor name; raises `MalformedRequest`."""
    if _REGION not in parameters:
        return None
    return RegionUse(
        name=as_string(parameters[_REGION], _REGION),
        offset=as_unsigned(parameters.get(_REGION_OFFSET, 0), _REGION_OFFSET),
        byte_size=as_unsigned(parameters.get(_REGION_BYTES, 0), _REGION_BYTES),
    )


# --- outputs ------------------------------------------------------------------------------------


def _read_outputs(
    document: dict[str, JsonValue], request_id: str | None, context: RequestContext
) -> tuple[RequestedOutput, ...]:
    if "outputs" not in document:
        return ()
    outputs: dict[str, RequestedOutput] = {}
    items = as_array(document["outputs"], "outputs")
    check_count(items, "outputs", context.model_name, request_id)
    for item in items:
        if not isinstance(item, dict):
            raise unparsable("outputs", NOT_AN_OBJECT)
        name = as_string(member(item, "name"), "name")
        outputs[name] = _read_output(name, _parameters(item))
    return tuple(outputs.values())


def _read_output(name: str, parameters: dict[str, JsonValue]) -> RequestedOutput:
    binary = as_bool(parameters.get("binary_data", False), "binary_data")
    classes = _read_classes(parameters.get("classification", 0))
    region = region_use(parameters)
    if region is not None:
        for other in ("classification", "binary_data"):
            if parameters.get(other):
                raise InvalidRequest(f"Output can't set both 'shared_memory_region' and '{other}'")
    custom = {key: value for key, value in parameters.items() if key not in _OUTPUT_PARAMETERS}
    return RequestedOutput(
        name=name,
        binary=binary,
        classification=min(classes, MAX_CLASSES),
        parameters_json=json_object(custom),
        region=region,
    )


def _read_classes(value: JsonValue) -> int:
    if type(value) is not int or not 0 <= value <= MAX_UINT64:
        raise MalformedRequest(f"Unable to set 'classification': {NOT_UNSIGNED}")
    return value
