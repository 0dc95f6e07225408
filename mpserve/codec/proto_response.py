"""Inference answer -> bytes of a `ModelInferResponse`, and of a stream's message around it.

Raw outputs stand behind the rest of the message, where they are copied once, out of the answer's
shared memory. Fields may come in any order; these come in that of their numbers.

Source: triton.md 4.6 and 4.7 (always raw); MLServer 1.7.1 (raw for raw inputs, else typed).
Messages are `Any`: protobuf makes their fields at run time.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from mpserve.codec import proto_contents, proto_parameters
from mpserve.codec.v2_response import AnswerContext, AnsweredTensor, ToldValues, told_values
from mpserve.model.request import Bytes, InferRequest

FINAL_PARAMETER: Final = "triton_final_response"

_RAW_OUTPUT_TAG: Final = b"\x32"  # field 6, length-delimited
_STREAM_ANSWER_TAG: Final = b"\x12"  # field 2, length-delimited


class ProtoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer's message is made of.

    Attributes
    ----------
    outputs
        As they came from the worker.
    parameters_json
        Of the answer, "" for none.
    is_final
        Told as a parameter in a stream; `None` otherwise.
    """

    outputs: Sequence[AnsweredTensor]
    parameters_json: str
    is_final: bool | None = None


def encode(
    answer: ProtoAnswer,
    *,
    message: Any,  # noqa: ANN401  an empty ModelInferResponse
    request: InferRequest,
    context: AnswerContext,
) -> bytes:
    """Return the encoded `ModelInferResponse`.

    Raises
    ------
    InvalidRequest
        An output can not be sent in the form the client asked for.
    """
    told = [
        told_values(tensor, request.requested_output(tensor.name), context)
        for tensor in answer.outputs
    ]
    raw = _goes_raw(told, request, context)
    message.model_name = context.model_name
    message.model_version = context.model_version
    message.id = request.id or ""
    proto_parameters.fill(message.parameters, answer.parameters_json)
    if answer.is_final is not None:
        message.parameters[FINAL_PARAMETER].bool_param = answer.is_final
    for tensor, values in zip(answer.outputs, told, strict=True):
        output = message.outputs.add(
            name=tensor.name, datatype=values.datatype.name, shape=values.shape
        )
        proto_parameters.fill(output.parameters, tensor.parameters_json)
        if not raw:
            proto_contents.write(output.contents, values.datatype, values.data)
    pieces: list[Bytes] = [message.SerializeToString()]
    if raw:
        for values in told:
            pieces += [_RAW_OUTPUT_TAG, varint(len(values.data)), values.data]
    return b"".join(pieces)


def in_stream(encoded: bytes) -> bytes:
    """Return an encoded answer as the `infer_response` of a `ModelStreamInferResponse`."""
    return b"".join([_STREAM_ANSWER_TAG, varint(len(encoded)), encoded])


def varint(number: int) -> bytes:
    """Return a number of at least 0 as protobuf writes it: 7 bits a byte, low ones first."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _goes_raw(told: Sequence[ToldValues], request: InferRequest, context: AnswerContext) -> bool:
    """MLServer answers in kind; what has no typed form goes raw in any case."""
    if not context.dialect.answers_in_kind or request.binary_by_default:
        return True
    return not all(proto_contents.is_typed(values.datatype) for values in told)
