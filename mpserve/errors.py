"""What can go wrong, as domain codes; wire statuses live in `mpserve.dialect.statuses`.

An exception knows its *code* and never a wire status. Across a process boundary only
`Failure(code, message)` travels, never an exception.
"""

import enum

import msgspec


class ErrorCode(enum.IntEnum):
    """Domain code of a failure. The values are shared with the native core (`status.hpp`)."""

    OK = 0
    UNKNOWN = 1
    INTERNAL = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 4
    NOT_READY = 5
    EXHAUSTED = 6
    DEADLINE = 7
    CANCELLED = 8
    UNAVAILABLE = 9
    UNSUPPORTED = 10
    ALREADY_EXISTS = 11
    LOAD_FAILED = 12
    MODEL_FAILED = 13
    MALFORMED = 14
    """The request is not even of the wire's form: broken JSON, a missing or mistyped member."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it crosses a process boundary.

    Attributes
    ----------
    code
        Domain code, never `OK`.
    message
        What was wrong (with the value, shortened), where, and what would be right.
    """

    code: ErrorCode
    message: str


class MpserveError(Exception):
    """Base of all errors of mpserve; `code` says of which kind."""

    code: ErrorCode = ErrorCode.INTERNAL

    @property
    def message(self) -> str:
        """Text for the client."""
        return str(self)

    def failure(self) -> Failure:
        """Return the error in the form that may cross a process boundary."""
        return Failure(code=self.code, message=self.message)


class InvalidRequest(MpserveError):
    """Shape, datatype, size or name does not fit."""

    code = ErrorCode.INVALID_ARGUMENT


class MalformedRequest(MpserveError):
    """Broken JSON, or a member that is missing or of the wrong JSON type."""

    code = ErrorCode.MALFORMED


class ModelNotFound(MpserveError):
    """No such model or version."""

    code = ErrorCode.NOT_FOUND


class ModelNotReady(MpserveError):
    """The model or version is known, but loading, unloading or failed."""

    code = ErrorCode.NOT_READY


class QueueFull(MpserveError):
    """Refused now, may pass later: the model's queue has no room."""

    code = ErrorCode.EXHAUSTED


class ArenaFull(MpserveError):
    """Refused now, may pass later: no shared memory is left for the tensors."""

    code = ErrorCode.EXHAUSTED


class ShuttingDown(MpserveError):
    """The server takes no new work because it is ending."""

    code = ErrorCode.UNAVAILABLE


class ControlRefused(MpserveError):
    """Load and unload are not allowed in this model control mode."""

    code = ErrorCode.UNAVAILABLE


class Unsupported(MpserveError):
    """Valid, but not in this mode or for this model."""

    code = ErrorCode.UNSUPPORTED


class WordUnknown(MpserveError):
    """A word that is none of those a setting can have; Triton says so with its code for outages."""

    code = ErrorCode.UNAVAILABLE


class AlreadyExists(MpserveError):
    """The name is taken."""

    code = ErrorCode.ALREADY_EXISTS


class RepositoryError(MpserveError):
    """A file of the model repository can not be read or understood."""

    code = ErrorCode.INTERNAL


class LoadError(MpserveError):
    """The model could not be loaded."""

    code = ErrorCode.LOAD_FAILED


class ModelError(MpserveError):
    """The model's own code raised while it executed."""

    code = ErrorCode.MODEL_FAILED


class InternalError(MpserveError):
    """A defect of mpserve; logged with the traceback."""

    code = ErrorCode.INTERNAL


class ConfigError(MpserveError):
    """A setting or flag that can not be used; ends the process at start with one line."""

    code = ErrorCode.INVALID_ARGUMENT
