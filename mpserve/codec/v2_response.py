"""Inference answer -> JSON text and binary tensors, in the form of the dialect.

Source: Triton's HTTP frontend (`{"id"?, "model_name", "model_version", "parameters"?, "outputs"}`);
MLServer 1.7.1 as seen running (`{"model_name", "model_version"?, "id", "parameters", "outputs"}`).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec
import orjson

from mpserve.codec import bytes_tensor, number_text
from mpserve.codec.classification import classify
from mpserve.codec.datatype import DTYPES
from mpserve.dialect import Dialect
from mpserve.errors import InternalError, InvalidRequest
from mpserve.model.request import Bytes, InferRequest, RequestedOutput
from mpserve.model.tensor import Datatype


class AnsweredTensor(Protocol):
    """One output as it came from a worker.

    `data` is in the wire's binary form.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  the class says it
    @property
    def datatype(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def parameters_json(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> memoryview: ...  # noqa: D102


class AnswerContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the form of an answer depends on besides the answer.

    Attributes
    ----------
    labels
        Output name -> class labels by index.
    batches
        The first dimension of outputs is a batch.
    """

    dialect: Dialect
    model_name: str
    model_version: str
    batches: bool = False
    labels: dict[str, tuple[str, ...]] = {}


class ToldValues(msgspec.Struct, frozen=True, kw_only=True):
    """What the client gets to see of one output, in binary form."""

    datatype: Datatype
    shape: tuple[int, ...]
    data: memoryview


class EncodedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer on its way to the wire.

    Attributes
    ----------
    blobs
        Binary tensors, to follow the JSON in this order; views of the answer. None are empty.
    """

    json_text: bytes
    blobs: tuple[Bytes, ...]


def encode(
    outputs: Sequence[AnsweredTensor],
    *,
    request: InferRequest,
    parameters_json: str,
    context: AnswerContext,
) -> EncodedAnswer:
    """Return the answer to `request` as it goes on the wire.

    Raises
    ------
    InvalidRequest
        An output can not be sent in the form the client asked for.
    InternalError
        An output's data does not fit its shape.
    """
    blobs: list[Bytes] = []
    texts = [_output_text(tensor, request, context, blobs) for tensor in outputs]
    members = [*_head(request, parameters_json, context), b'"outputs":[' + b",".join(texts) + b"]"]
    return EncodedAnswer(
        json_text=b"{" + b",".join(members) + b"}", blobs=tuple(blob for blob in blobs if len(blob))
    )


def _head(request: InferRequest, parameters_json: str, context: AnswerContext) -> list[bytes]:
    request_id = [b'"id":' + orjson.dumps(request.id)] if request.id else []
    names = [b'"model_name":' + orjson.dumps(context.model_name)]
    if context.model_version:
        names.append(b'"model_version":' + orjson.dumps(context.model_version))
    head = names + request_id if context.dialect.id_follows_names else request_id + names
    parameters = parameters_json or ("{}" if context.dialect.response_names_parameters else "")
    return head + _parameters(parameters)


def _parameters(parameters_json: str) -> list[bytes]:
    return [b'"parameters":' + parameters_json.encode()] if parameters_json else []


def _output_text(
    tensor: AnsweredTensor, request: InferRequest, context: AnswerContext, blobs: list[Bytes]
) -> bytes:
    wanted = request.requested_output(tensor.name)
    values = told_values(tensor, wanted, context)
    names = b'{"name":' + orjson.dumps(tensor.name)
    word, dims = b'"datatype":"' + values.datatype.name.encode() + b'"', _shape_text(values.shape)
    order = (dims, word) if context.dialect.shape_precedes_datatype else (word, dims)
    body = _content(tensor, wanted, values, context)
    if wanted.binary:
        blobs.append(values.data)
    return b",".join([names, *order, *body]) + b"}"


def told_values(
    tensor: AnsweredTensor, wanted: RequestedOutput, context: AnswerContext
) -> ToldValues:
    """Return what an output tells: its values, or its classes when the client asked for them.

    Raises
    ------
    InvalidRequest
        The values can not be classified.
    """
    datatype, shape = Datatype[tensor.datatype], tuple(tensor.shape)
    if not wanted.classification:
        return ToldValues(datatype=datatype, shape=shape, data=tensor.data)
    classified = classify(
        tensor.data,
        datatype=datatype,
        shape=shape,
        batches=context.batches,
        classes=wanted.classification,
        labels=context.labels.get(tensor.name, ()),
    )
    return ToldValues(
        datatype=Datatype.BYTES,
        shape=classified.shape,
        data=memoryview(bytes_tensor.pack(classified.elements)),
    )


def _shape_text(shape: tuple[int, ...]) -> bytes:
    return b'"shape":' + orjson.dumps(shape)


def _content(
    tensor: AnsweredTensor, wanted: RequestedOutput, values: ToldValues, context: AnswerContext
) -> list[bytes]:
    if wanted.region is not None:
        return []  # the client finds it there
    if wanted.binary:
        size = orjson.dumps({"binary_data_size": len(values.data)})
        own = tensor.parameters_json.encode()
        both = own[:-1] + b"," + size[1:] if own not in {b"", b"{}"} else size
        return [b'"parameters":' + both]
    text = data_text(
        values.data,
        name=tensor.name,
        datatype=values.datatype,
        shape=values.shape,
        dialect=context.dialect,
    )
    return [*_parameters(tensor.parameters_json), b'"data":' + text]


def data_text(
    data: Bytes, *, name: str, datatype: Datatype, shape: tuple[int, ...], dialect: Dialect
) -> bytes:
    """Return the elements of an output as a flat JSON array; raises as `encode`."""
    if datatype is Datatype.BYTES:
        return _bytes_text(data, name, shape)
    if datatype not in DTYPES or (datatype is Datatype.FP16 and not dialect.half_precision_in_json):
        raise InvalidRequest(
            f"sending {datatype.name} data via JSON is not supported. Please use the binary data "
            f"format for output"
        )
    if len(data) != math.prod(shape) * datatype.item_bytes:
        raise InternalError(
            f"Failed to write 'data' field: output tensor shape does not match size of output for "
            f"'{name}'"
        )
    if datatype is Datatype.FP32 and dialect.single_precision_as_double:
        return number_text.doubles_text(data, words=dialect.non_finite)
    return number_text.numbers_text(data, datatype, words=dialect.non_finite)


def _bytes_text(data: Bytes, name: str, shape: tuple[int, ...]) -> bytes:
    elements = bytes_tensor.unpack(data)
    if len(elements) != math.prod(shape):
        raise InternalError(f"output tensor shape does not match size of output for '{name}'")
    try:
        return orjson.dumps([element.decode() for element in elements])
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"output '{name}' has elements that are not UTF-8, which JSON can not carry; ask for "
            f"it with the parameter 'binary_data'"
        ) from error
