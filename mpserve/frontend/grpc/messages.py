"""Message classes of a service, and encoded requests into messages."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from mpserve.dialect import DialectName
from mpserve.errors import MalformedRequest
from mpserve.model.proto import schema
from mpserve.model.proto.schema import Schema

INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
INFER_REQUEST: Final = "inference.ModelInferRequest"
INFER_RESPONSE: Final = "inference.ModelInferResponse"

_FILES: Final[Mapping[DialectName, tuple[str, ...]]] = {
    DialectName.TRITON: (schema.MODEL_CONFIG, schema.TRITON_SERVICE),
    DialectName.MLSERVER: (schema.MLSERVER_DATAPLANE,),
}


def inference_schema(dialect: DialectName) -> Schema:
    """Return the messages of the dialect's inference service."""
    return schema.schema(*_FILES[dialect])


def parse(message_class: Any, encoded: bytes) -> Any:  # noqa: ANN401  made at run time
    """Return the message that a client sent.

    Raises
    ------
    MalformedRequest
        The bytes are no such message.
    """
    try:
        return message_class.FromString(encoded)
    except DecodeError as error:
        raise MalformedRequest("Unable to parse request") from error  # the peer's words
