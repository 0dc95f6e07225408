"""Error codes as models see them: the names of `TritonError`'s."""

from typing import Final

from mpserve.errors import ErrorCode

_NAMES: Final = {
    ErrorCode.UNKNOWN: "UNKNOWN",
    ErrorCode.INVALID_ARGUMENT: "INVALID_ARG",
    ErrorCode.MALFORMED: "INVALID_ARG",
    ErrorCode.NOT_FOUND: "NOT_FOUND",
    ErrorCode.NOT_READY: "UNAVAILABLE",
    ErrorCode.EXHAUSTED: "UNAVAILABLE",
    ErrorCode.DEADLINE: "UNAVAILABLE",
    ErrorCode.UNAVAILABLE: "UNAVAILABLE",
    ErrorCode.UNSUPPORTED: "UNSUPPORTED",
    ErrorCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    ErrorCode.CANCELLED: "CANCELLED",
}


def error_name(code: ErrorCode) -> str:
    """Return the name of the code that a model is told, or may tell, for ours."""
    return _NAMES.get(code, "INTERNAL")
