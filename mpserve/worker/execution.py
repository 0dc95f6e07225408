"""Execution of one batch: the border around the model's code.

Guarantees: each request of the batch is answered exactly once, whatever the model raises, and what
    the model raised is forgotten before it is answered, so that no traceback keeps input blocks.
"""

import traceback
from collections.abc import Sequence
from typing import Any, Protocol

from mpserve._native import answers_all
from mpserve.errors import ErrorCode, Failure, InternalError, MpserveError
from mpserve.runtimes.model_trace import describe_exception
from mpserve.runtimes.protocol import Request, Response
from mpserve.telemetry import log


class Port(Protocol):
    """Where answers go. Both calls empty the lists they are given."""

    def complete(self, requests: list[Any], responses: list[Any]) -> None:
        """Answer the batch: one native response for each native request, in order."""

    def fail(self, requests: list[Any], code: int, message: str) -> None:
        """Answer with an error what is not answered yet."""

    def detach(self, requests: list[Any]) -> None:
        """Leave the batch to its response senders."""

    def put_off(self, requests: list[Any]) -> list[int]:
        """Take what the model wants once more out of the batch and the list; return which."""
        ...


class Executor(Protocol):
    """What executes: a runtime, or what stands around one.

    It may have `execute_stream` for decoupled models; see `runtimes.protocol`.
    """

    name: str

    def execute(self, requests: Sequence[Any]) -> Sequence[Any]:
        """Return one answer, or `None` when it was put off, for each request."""
        ...


class Execution:
    """Executes batches on a runtime and answers them through a port.

    Benchmark: `bench/micro/worker_loop.py`. Bound methods are looked up once.
    """

    def __init__(self, runtime: Executor, port: Port) -> None:
        self._name = runtime.name
        self._execute = runtime.execute
        self._complete = port.complete
        self._fail = port.fail
        self._detach = port.detach
        self._put_off = port.put_off
        self._execute_stream = getattr(runtime, "execute_stream", runtime.execute)

    def run(self, requests: list[Request]) -> None:
        """Execute a batch and answer each of its requests."""
        try:
            # A list of our own, which `complete` empties: answers end before inputs are counted as
            # still used, so an answer that is a view of its input does not keep the input.
            answered = self._execute(requests)
            if answers_all(answered, requests):
                responses = list(answered)
            else:
                responses = self._settled(answered, requests)
            del answered
        except BaseException as error:  # noqa: BLE001  # a request never ends the worker
            failure = failure_of(error)
        else:
            self._complete(requests, responses)
            return
        self._fail(requests, failure.code, failure.message)

    def _settled(
        self, answered: Sequence[Response | None], requests: list[Request]
    ) -> list[Response]:
        """Return the answers to those requests that are not put off."""
        if None in answered:
            gone = self._put_off(requests)
            answered = [one for index, one in enumerate(answered) if index not in gone]
        return checked_responses(self._name, answered, wanted=len(requests))

    def run_stream(self, requests: list[Request]) -> None:
        """Execute a batch of a decoupled model, whose senders answer, now or later."""
        try:
            self._execute_stream(requests)
            self._put_off(requests)
        except BaseException as error:  # noqa: BLE001  # a request never ends the worker
            failure = failure_of(error)
        else:
            self._detach(requests)
            return
        self._fail(requests, failure.code, failure.message)


def checked_responses(
    name: str, answered: Sequence[Response | None], *, wanted: int
) -> list[Response]:
    """Return a list of our own with one answer for each request.

    Raises
    ------
    InternalError
        The runtime of this name returned something else.
    """
    responses = [response for response in answered if response is not None]
    if len(responses) != wanted or len(answered) != wanted:
        raise InternalError(
            f"the runtime '{name}' returned {len(responses)} answers to {wanted} requests"
        )
    return responses


def failure_of(error: BaseException) -> Failure:
    """Return the answer to what the model raised; the whole traceback goes to the log."""
    cause = error.__cause__ if isinstance(error, MpserveError) else error
    if cause is not None or isinstance(error, InternalError):
        log.error("model.raised", traceback="".join(traceback.format_exception(cause or error)))
    if isinstance(error, MpserveError):
        return error.failure()
    return Failure(code=ErrorCode.MODEL_FAILED, message=describe_exception(error, outside=__file__))
