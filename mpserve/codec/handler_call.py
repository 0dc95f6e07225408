"""A request to a path of a model's own, and its answer, as they travel to the worker and back.

The body is the only tensor; all else is the JSON of the parameters.
"""

from typing import Final

import msgspec

from mpserve.errors import InternalError
from mpserve.model.request import Bytes, InferRequest, InputTensor
from mpserve.model.tensor import Datatype

BODY: Final = "body"


class HandlerCall(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is told besides the body.

    Attributes
    ----------
    route
        Path of the route, as the model declared it.
    path
        Without the query, percent-encoded.
    parts
        Values of the route's parts, decoded.
    headers
        Names in lower case.
    """

    method: str
    route: str
    path: str
    query: str
    parts: dict[str, str]
    headers: tuple[tuple[str, str], ...]


class HandlerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says besides the body; `content_type` "" for none."""

    status: int
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


def to_request(call: HandlerCall, body: Bytes) -> InferRequest:
    """Return the call as a request for a model queue."""
    return InferRequest(
        is_handler_call=True,
        parameters_json=msgspec.json.encode(call).decode(),
        inputs=(InputTensor(name=BODY, datatype=Datatype.UINT8, shape=(len(body),), data=body),),
    )


def read_answer(parameters_json: str) -> HandlerAnswer:
    """Return what a worker has said of an answer; raises `InternalError` for anything else."""
    try:
        return msgspec.json.decode(parameters_json, type=HandlerAnswer)
    except msgspec.MsgspecError as error:
        raise InternalError(f"a handler's answer can not be read: {error}") from error
