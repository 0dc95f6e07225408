"""Texts for people and clients: why a version is not available, a load failed, a worker died.

Source: Triton's core for the form of the first two (`<code word>: <message>`).
"""

import signal
from collections.abc import Iterable
from typing import Final

from mpserve.errors import ErrorCode, Failure
from mpserve.model.identity import InstanceKey, ModelName, Version

UNLOADED: Final = "unloaded"
"""Reason of a version that went away because someone wanted so."""

CODE_WORDS: Final = {
    ErrorCode.UNKNOWN: "Unknown",
    ErrorCode.INTERNAL: "Internal",
    ErrorCode.INVALID_ARGUMENT: "Invalid argument",
    ErrorCode.NOT_FOUND: "Not found",
    ErrorCode.NOT_READY: "Unavailable",
    ErrorCode.EXHAUSTED: "Unavailable",
    ErrorCode.DEADLINE: "Unavailable",
    ErrorCode.CANCELLED: "Cancelled",
    ErrorCode.UNAVAILABLE: "Unavailable",
    ErrorCode.UNSUPPORTED: "Unsupported",
    ErrorCode.ALREADY_EXISTS: "Already exists",
    ErrorCode.LOAD_FAILED: "Internal",
    ErrorCode.MODEL_FAILED: "Internal",
    ErrorCode.MALFORMED: "Invalid argument",
}


def shown_reason(failure: Failure) -> str:
    """Return the reason as the repository index shows it."""
    return f"{CODE_WORDS[failure.code]}: {failure.message}"


def load_failure(
    name: ModelName, failed: Iterable[tuple[Version, Failure]], *, still_ready: bool = False
) -> Failure:
    """Return the answer to a load of which some versions failed.

    Parameters
    ----------
    still_ready
        The failed versions serve on with fewer instances than were wanted.
    """
    state = "READY" if still_ready else "UNAVAILABLE"
    pieces = "".join(
        f"{_version_words(version)} at {state} state: {shown_reason(failure)};\n"
        for version, failure in failed
    )
    return Failure(code=ErrorCode.LOAD_FAILED, message=f"load failed for model '{name}': {pieces}")


def misfit_failure(name: ModelName, failure: Failure) -> Failure:
    """Return the answer to a load of an ensemble that its models do not let serve."""
    message = f"load failed for model '{name}': {failure.message}\n"
    return Failure(code=ErrorCode.LOAD_FAILED, message=message)


def changed_failure(name: ModelName) -> Failure:
    """Return why a load that poll asked for is not published: it may have read half of a change."""
    message = (
        f"load failed for model '{name}': its files were changed while it was loaded; it is loaded "
        "again once they are still\n"
    )
    return Failure(code=ErrorCode.LOAD_FAILED, message=message)


def _version_words(version: Version) -> str:
    return f"version {version} is" if version else "it is"


def _overdue_failure(instance: InstanceKey, limit_seconds: float) -> Failure:
    """Return why an instance was killed that had held a request for too long."""
    return Failure(
        code=ErrorCode.UNAVAILABLE,
        message=(
            f"worker {instance.index} of model '{instance.name}' was killed: an execution took "
            f"longer than its max_execution_seconds of {limit_seconds:g}"
        ),
    )


def death_failure(
    instance: InstanceKey,
    *,
    exit_code: int | None,
    signal_number: int | None,
    last_lines: tuple[str, ...],
    overdue_seconds: float = 0.0,
) -> Failure:
    """Return why an instance is not there any more, from how its process ended.

    Parameters
    ----------
    overdue_seconds
        The limit of an execution for which it was killed; 0 when it was not.
    """
    if overdue_seconds:
        return _overdue_failure(instance, overdue_seconds)
    manner = _manner(exit_code=exit_code, signal_number=signal_number)
    version = f" version {instance.version}" if instance.version else ""
    text = f"worker {instance.index} of model '{instance.name}'{version} {manner}"
    if last_lines:
        text += "; last lines of its stderr: " + " | ".join(last_lines)
    return Failure(code=ErrorCode.UNAVAILABLE, message=text)


def _manner(*, exit_code: int | None, signal_number: int | None) -> str:
    if signal_number is not None:
        try:
            return f"was ended by signal {signal_number} ({signal.Signals(signal_number).name})"
        except ValueError:
            return f"was ended by signal {signal_number}"
    if exit_code is not None:
        return f"ended with exit code {exit_code}"
    return "ended in a way that nobody saw"
