"""How runtimes build their answers: from arrays, or from what went wrong.

A runtime is given a `ResponseBuilder`, so that it can be run without the native core.
"""

import importlib
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import msgspec
import numpy.typing as npt

from mpserve.compat.triton_error_codes import error_name
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.runtimes.protocol import Request, Response
from mpserve.telemetry import log


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One output tensor.

    Attributes
    ----------
    array
        Its dtype decides the datatype; an object array of `bytes` is `BYTES`.
    parameters_json
        Parameters of the tensor as a JSON object, "" for none.
    """

    name: str
    array: npt.NDArray[Any]  # any of the datatypes
    parameters_json: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is answered with.

    Attributes
    ----------
    parameters_json
        Parameters of the response as a JSON object, "" for none.
    headers
        For the head of the answer over HTTP, or the metadata of gRPC: name, NUL, value, NUL each.
    """

    outputs: Sequence[Output]
    parameters_json: str = ""
    headers: bytes = b""


class ResponseBuilder(Protocol):
    """Makes response objects."""

    def answer(self, answer: Answer) -> Response:
        """Return the response with these outputs."""
        ...

    def answer_rows(self, answer: Answer, rows: Sequence[int]) -> list[Response] | None:
        """Return a response for each of several requests, which have so many rows, in order.

        `None` when an output of `answer` does not have one row for each.
        """
        ...

    def refuse(self, failure: Failure) -> Response:
        """Return the response with this error."""
        ...


_NATIVE_CLASSES: Final = "mpserve.compat.triton_python_backend_utils"


class NativeResponses:
    """Makes the response objects of the native core."""

    def __init__(self) -> None:
        # Here, not above: tests of runtimes bring a builder of their own and need no native core.
        self._native: Any = importlib.import_module(_NATIVE_CLASSES)

    def answer(self, answer: Answer) -> Response:
        """Return the response with these outputs."""
        response = self._native.InferenceResponse(
            self._tensors(answer), parameters_json=answer.parameters_json, headers=answer.headers
        )
        return cast("Response", response)

    def answer_rows(self, answer: Answer, rows: Sequence[int]) -> list[Response] | None:
        """Return a response for each of several requests, `None` when the rows do not fit."""
        responses = self._native.answers_of_rows(
            self._tensors(answer),
            rows,
            parameters_json=answer.parameters_json,
            headers=answer.headers,
        )
        return cast("list[Response] | None", responses)

    def _tensors(self, answer: Answer) -> list[Any]:
        return [
            self._native.Tensor(output.name, output.array, parameters_json=output.parameters_json)
            for output in answer.outputs
        ]

    def refuse(self, failure: Failure) -> Response:
        """Return the response with this error."""
        code = getattr(self._native.TritonError, error_name(failure.code))
        error = self._native.TritonError(failure.message, code)
        return cast("Response", self._native.InferenceResponse([], error))


def failure_of(error: Exception) -> Failure:
    """Return what the client is told about an exception of the model's code.

    The whole traceback goes to the log; its last line to the client.
    """
    if isinstance(error, MpserveError):
        return error.failure()
    log.error("model.raised", traceback="".join(traceback.format_exception(error)))
    return Failure(code=ErrorCode.MODEL_FAILED, message=last_line(error))


def last_line(error: BaseException) -> str:
    """Return the end of an exception's traceback: its class and its words."""
    return "".join(traceback.format_exception_only(error)).strip()


def answer_each(
    requests: Sequence[Request], responses: ResponseBuilder, predict: Callable[[Request], Answer]
) -> list[Response]:
    """Answer each request on its own, so that one that fails does not fail the others.

    Parameters
    ----------
    predict
        Answers one request, or raises: `MpserveError` for the client's mistakes, anything else for
        the model's.
    """
    return [_answer_one(request, responses, predict) for request in requests]


def _answer_one(
    request: Request, responses: ResponseBuilder, predict: Callable[[Request], Answer]
) -> Response:
    try:
        return responses.answer(predict(request))
    except Exception as error:  # noqa: BLE001  # the border around the model's code
        return responses.refuse(failure_of(error))
