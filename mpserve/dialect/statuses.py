"""The error table: domain code x dialect -> HTTP status, gRPC code, content type and body form.

It is the only place that knows wire statuses. `GENERAL` has a row for every code and dialect;
`PARTICULAR` holds the operations for which a peer answers the same code in another way. What goes
wrong before there is an operation (path, method, size) is in `TRANSPORT`.

Source: Triton's behaviour as specified in its server's `http_server.cc` and seen on 2.51; MLServer
1.7.1 as seen running. Where MLServer says only `Internal Server Error` as plain text, mpserve sends
the same status with a JSON error that names the fault.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from mpserve.errors import ErrorCode


class DialectName(enum.Enum):
    """The language spoken on the wire and the command line."""

    TRITON = "triton"
    MLSERVER = "mlserver"


class Operation(enum.Enum):
    """What a client asked for, as far as error answers depend on it."""

    HEALTH = "health"
    MODEL_READY = "model_ready"
    SERVER_METADATA = "server_metadata"
    MODEL_METADATA = "model_metadata"
    MODEL_CONFIG = "model_config"
    STATISTICS = "statistics"
    INFER_OPENING = "infer_opening"
    """Of an inference, all that comes before its body is read: model, version, compression."""
    INFER = "infer"
    INFER_ANSWER = "infer_answer"
    """Writing the answer of an inference whose model has succeeded."""
    GENERATE = "generate"
    GENERATE_ANSWER = "generate_answer"
    """The first answer of a model to a generate request."""
    INDEX = "index"
    LOAD = "load"
    UNLOAD = "unload"
    TRACE = "trace"
    LOGGING = "logging"
    SHARED_MEMORY = "shared_memory"


class GrpcCode(enum.IntEnum):
    """Status codes of gRPC that mpserve sends; numbers as in the gRPC specification."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class BodyForm(enum.Enum):
    """How an error message is wrapped."""

    ERROR = "error"
    """`{"error": "<message>"}`"""
    DETAIL = "detail"
    """`{"detail": "<message>"}`"""
    DETAIL_LIST = "detail_list"
    """`{"detail": [{"type", "loc", "msg", "input"}]}`"""


class TransportFault(enum.Enum):
    """What can be wrong with an HTTP request before it is known what it asks for."""

    UNKNOWN_PATH = "unknown_path"
    WRONG_METHOD = "wrong_method"
    WRONG_METHOD_OF_STATE = "wrong_method_of_state"
    """Likewise, of health and inference, whose answers Triton labels otherwise."""
    MALFORMED_HTTP = "malformed_http"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_TOO_LARGE = "body_too_large"
    TOO_MANY_CHUNKS = "too_many_chunks"
    TOO_SLOW = "too_slow"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    RESTRICTED = "restricted"


JSON: Final = "application/json"
TEXT: Final = "text/plain"


class StatusRow(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the table.

    Attributes
    ----------
    http
        HTTP status.
    grpc
        gRPC status code; its message is the failure's message, unchanged.
    content_type
        Of the HTTP answer. Triton labels some JSON bodies `text/plain`.
    form
        How the message is wrapped in the HTTP body.
    fixed_message
        Said instead of the failure's own message when not empty.
    retry_after_s
        Seconds after which HTTP clients are asked to try again; 0: they are told nothing.
    """

    http: int
    grpc: GrpcCode
    content_type: str = JSON
    form: BodyForm = BodyForm.ERROR
    fixed_message: str = ""
    retry_after_s: int = 0


_T = DialectName.TRITON
_M = DialectName.MLSERVER
_READY_NO = StatusRow(
    http=400,
    grpc=GrpcCode.UNAVAILABLE,
    content_type=TEXT,
    fixed_message="Model version not ready",
)

# No room now. The header is mpserve's own; both peers leave clients to guess.
_FULL = StatusRow(http=503, grpc=GrpcCode.UNAVAILABLE, retry_after_s=1)

GENERAL: Final[Mapping[DialectName, Mapping[ErrorCode, StatusRow]]] = {
    _T: {
        ErrorCode.UNKNOWN: StatusRow(http=400, grpc=GrpcCode.UNKNOWN),
        ErrorCode.INTERNAL: StatusRow(http=500, grpc=GrpcCode.INTERNAL),
        ErrorCode.INVALID_ARGUMENT: StatusRow(http=400, grpc=GrpcCode.INVALID_ARGUMENT),
        ErrorCode.NOT_FOUND: StatusRow(http=404, grpc=GrpcCode.NOT_FOUND),
        ErrorCode.NOT_READY: StatusRow(http=503, grpc=GrpcCode.UNAVAILABLE),
        ErrorCode.EXHAUSTED: _FULL,
        ErrorCode.DEADLINE: StatusRow(http=503, grpc=GrpcCode.UNAVAILABLE),
        ErrorCode.CANCELLED: StatusRow(http=400, grpc=GrpcCode.CANCELLED),
        ErrorCode.UNAVAILABLE: StatusRow(http=503, grpc=GrpcCode.UNAVAILABLE),
        ErrorCode.UNSUPPORTED: StatusRow(http=501, grpc=GrpcCode.UNIMPLEMENTED),
        ErrorCode.ALREADY_EXISTS: StatusRow(http=400, grpc=GrpcCode.ALREADY_EXISTS),
        ErrorCode.LOAD_FAILED: StatusRow(http=400, grpc=GrpcCode.INVALID_ARGUMENT),
        ErrorCode.MODEL_FAILED: StatusRow(http=500, grpc=GrpcCode.INTERNAL),
        # Triton's JSON reader reports broken JSON and mistyped members as its own failure.
        ErrorCode.MALFORMED: StatusRow(http=500, grpc=GrpcCode.INTERNAL),
    },
    _M: {
        ErrorCode.UNKNOWN: StatusRow(http=500, grpc=GrpcCode.UNKNOWN),
        ErrorCode.INTERNAL: StatusRow(http=500, grpc=GrpcCode.INTERNAL),
        ErrorCode.INVALID_ARGUMENT: StatusRow(http=400, grpc=GrpcCode.INVALID_ARGUMENT),
        ErrorCode.NOT_FOUND: StatusRow(http=404, grpc=GrpcCode.NOT_FOUND),
        # An unloaded or failed model does not exist for MLServer.
        ErrorCode.NOT_READY: StatusRow(http=404, grpc=GrpcCode.NOT_FOUND),
        ErrorCode.EXHAUSTED: _FULL,
        ErrorCode.DEADLINE: StatusRow(http=503, grpc=GrpcCode.UNAVAILABLE),
        ErrorCode.CANCELLED: StatusRow(http=400, grpc=GrpcCode.CANCELLED),
        ErrorCode.UNAVAILABLE: StatusRow(http=503, grpc=GrpcCode.UNAVAILABLE),
        ErrorCode.UNSUPPORTED: StatusRow(http=501, grpc=GrpcCode.UNIMPLEMENTED),
        ErrorCode.ALREADY_EXISTS: StatusRow(http=400, grpc=GrpcCode.ALREADY_EXISTS),
        ErrorCode.LOAD_FAILED: StatusRow(http=500, grpc=GrpcCode.INTERNAL),
        ErrorCode.MODEL_FAILED: StatusRow(http=500, grpc=GrpcCode.INTERNAL),
        ErrorCode.MALFORMED: StatusRow(
            http=422, grpc=GrpcCode.INVALID_ARGUMENT, form=BodyForm.DETAIL_LIST
        ),
    },
}

PARTICULAR: Final[Mapping[DialectName, Mapping[tuple[Operation, ErrorCode], StatusRow]]] = {
    _T: {
        # Unknown and unready are one answer here: the readiness route says yes or no.
        (Operation.MODEL_READY, ErrorCode.NOT_FOUND): _READY_NO,
        (Operation.MODEL_READY, ErrorCode.NOT_READY): _READY_NO,
        (Operation.MODEL_READY, ErrorCode.INVALID_ARGUMENT): StatusRow(
            http=400, grpc=GrpcCode.INVALID_ARGUMENT, content_type=TEXT
        ),
        # The scan reports a model that is in no repository as its own failure.
        (Operation.LOAD, ErrorCode.NOT_FOUND): StatusRow(http=500, grpc=GrpcCode.INTERNAL),
        (Operation.HEALTH, ErrorCode.UNAVAILABLE): StatusRow(
            http=503, grpc=GrpcCode.UNAVAILABLE, content_type=TEXT
        ),
        # Raised before Triton has a request object, which is what sets the content type.
        (Operation.INFER_OPENING, ErrorCode.NOT_FOUND): StatusRow(
            http=404, grpc=GrpcCode.NOT_FOUND, content_type=TEXT
        ),
        (Operation.INFER_OPENING, ErrorCode.NOT_READY): StatusRow(
            http=503, grpc=GrpcCode.UNAVAILABLE, content_type=TEXT
        ),
        (Operation.INFER_OPENING, ErrorCode.INVALID_ARGUMENT): StatusRow(
            http=400, grpc=GrpcCode.INVALID_ARGUMENT, content_type=TEXT
        ),
        (Operation.INFER_OPENING, ErrorCode.UNSUPPORTED): StatusRow(
            http=501, grpc=GrpcCode.UNIMPLEMENTED, content_type=TEXT
        ),
        # Raised when the request object is gone again.
        (Operation.INFER_ANSWER, ErrorCode.INVALID_ARGUMENT): StatusRow(
            http=400, grpc=GrpcCode.INVALID_ARGUMENT, content_type=TEXT
        ),
        (Operation.INFER_ANSWER, ErrorCode.INTERNAL): StatusRow(
            http=500, grpc=GrpcCode.INTERNAL, content_type=TEXT
        ),
        # Triton reads the error's code after it has freed the error: clients know only this one.
        **{
            (Operation.GENERATE_ANSWER, code): StatusRow(http=400, grpc=GrpcCode.UNKNOWN)
            for code in ErrorCode
            if code is not ErrorCode.OK
        },
    },
    _M: {},
}

_WRONG_METHOD_OF_MLSERVER: Final = StatusRow(
    http=405,
    grpc=GrpcCode.UNIMPLEMENTED,
    form=BodyForm.DETAIL,
    fixed_message="Method Not Allowed",
)
TRANSPORT: Final[Mapping[DialectName, Mapping[TransportFault, StatusRow]]] = {
    _T: {
        TransportFault.UNKNOWN_PATH: StatusRow(
            http=404,
            grpc=GrpcCode.UNIMPLEMENTED,
            content_type=TEXT,
            fixed_message="Not Found",
        ),
        TransportFault.WRONG_METHOD: StatusRow(
            http=405, grpc=GrpcCode.UNIMPLEMENTED, fixed_message="Method Not Allowed"
        ),
        TransportFault.WRONG_METHOD_OF_STATE: StatusRow(
            http=405,
            grpc=GrpcCode.UNIMPLEMENTED,
            content_type=TEXT,
            fixed_message="Method Not Allowed",
        ),
        TransportFault.MALFORMED_HTTP: StatusRow(http=400, grpc=GrpcCode.INTERNAL),
        TransportFault.HEADERS_TOO_LARGE: StatusRow(http=431, grpc=GrpcCode.RESOURCE_EXHAUSTED),
        TransportFault.BODY_TOO_LARGE: StatusRow(http=400, grpc=GrpcCode.INVALID_ARGUMENT),
        TransportFault.TOO_MANY_CHUNKS: StatusRow(http=400, grpc=GrpcCode.INVALID_ARGUMENT),
        TransportFault.TOO_SLOW: StatusRow(http=408, grpc=GrpcCode.DEADLINE_EXCEEDED),
        TransportFault.UNSUPPORTED_ENCODING: StatusRow(
            http=501,
            grpc=GrpcCode.UNIMPLEMENTED,
            content_type=TEXT,
            fixed_message="Unsupported compression type",
        ),
        TransportFault.RESTRICTED: StatusRow(http=403, grpc=GrpcCode.UNAVAILABLE),
    },
    _M: {
        TransportFault.UNKNOWN_PATH: StatusRow(
            http=404,
            grpc=GrpcCode.UNIMPLEMENTED,
            form=BodyForm.DETAIL,
            fixed_message="Not Found",
        ),
        TransportFault.WRONG_METHOD: _WRONG_METHOD_OF_MLSERVER,
        TransportFault.WRONG_METHOD_OF_STATE: _WRONG_METHOD_OF_MLSERVER,
        TransportFault.MALFORMED_HTTP: StatusRow(http=400, grpc=GrpcCode.INTERNAL),
        TransportFault.HEADERS_TOO_LARGE: StatusRow(http=431, grpc=GrpcCode.RESOURCE_EXHAUSTED),
        TransportFault.BODY_TOO_LARGE: StatusRow(http=413, grpc=GrpcCode.INVALID_ARGUMENT),
        TransportFault.TOO_MANY_CHUNKS: StatusRow(http=400, grpc=GrpcCode.INVALID_ARGUMENT),
        TransportFault.TOO_SLOW: StatusRow(http=408, grpc=GrpcCode.DEADLINE_EXCEEDED),
        TransportFault.UNSUPPORTED_ENCODING: StatusRow(http=415, grpc=GrpcCode.UNIMPLEMENTED),
        TransportFault.RESTRICTED: StatusRow(http=403, grpc=GrpcCode.UNAVAILABLE),
    },
}
