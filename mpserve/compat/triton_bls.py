"""Requests of a model to other models, and to the server itself: Triton's business logic scripting.

Guarantees
    What fails is told by the answer's `error()`, not raised, as in Triton; but for calls at the
    wrong time and for a broken request. An answer's tensors look into the memory of the model that
    made them, without a copy, as long as they live.
Source
    Triton's Python backend; errors word for word.
"""

import asyncio
import enum
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Final, Protocol

from mpserve import _native
from mpserve.compat.triton_error_codes import error_name
from mpserve.dispatch.ensemble_answer import AnyAnswer, OnAnswer
from mpserve.errors import ErrorCode, Failure, ModelNotFound, ModelNotReady, MpserveError
from mpserve.model.request import InferRequest, InputTensor, RequestedOutput, SequenceMark
from mpserve.model.tensor import Datatype

_OUTSIDE_EXECUTE: Final = "BLS is only supported during the 'execute' function."
_DECOUPLED: Final = (
    "Model {name} is using the decoupled. The current BLS request call doesn't support models"
    " using the decoupled transaction policy. Please use 'decoupled=True' argument to the 'exec' or"
    " 'async_exec' calls for decoupled models.'"
)
_NOT_READY: Final = "Failed for execute the inference request. Model '{name}' is not ready."
_FAILED: Final = "Model {name} - Error when running inference: {reason}"
_FILE_PREFIX: Final = "file:"


class DecoupledModel(MpserveError):
    """The model may answer several times, and the call takes one answer."""

    code = ErrorCode.UNSUPPORTED


class Server(Protocol):
    """What a worker can ask of its server. May be called from any thread of the model."""

    def start(
        self,
        request: InferRequest,
        *,
        name: str,
        version: str,
        takes_many: bool,
        blocks: bool,
        on_answer: OnAnswer,
    ) -> int:
        """Send a request; return its number. `on_answer` is called from any thread.

        Parameters
        ----------
        blocks
            The caller does nothing else until it is answered.

        Raises
        ------
        ModelNotFound, ModelNotReady
            No such model is ready.
        DecoupledModel
            It may answer several times, and the caller takes one answer.
        MpserveError
            The request does not fit the model, or is refused now.
        """
        ...

    def cancel(self, number: int) -> None:
        """Take a request back."""

    def is_ready(self, name: str, version: str) -> bool:
        """Tell whether a model takes requests."""
        ...

    def load(self, name: str, config: str, files: dict[str, bytes]) -> Failure | None:
        """Load a model; return why that failed."""
        ...

    def unload(self, name: str, *, unload_dependents: bool) -> Failure | None:
        """Unload a model; return why that failed."""
        ...


class Phase(enum.Enum):
    """What the model of this process is doing, and so what it may ask."""

    COMPLETING = "auto_complete_config"
    INITIALIZING = "initialize"
    EXECUTING = "execute"
    FINALIZING = "finalize"


_MAY_CONTROL: Final = frozenset({Phase.INITIALIZING, Phase.EXECUTING})


class _Access:
    """How the one model of this process gets to its server."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.phase = Phase.COMPLETING


_access: Final = _Access()


def connect(server: Server | None) -> None:
    """Let the model of this process ask `server`, or nobody."""
    _access.server = server


def enter(phase: Phase) -> None:
    """Note what the model of this process does from now on."""
    _access.phase = phase


def current_phase() -> Phase:
    """Return what the model of this process is doing."""
    return _access.phase


# --- requests to models -------------------------------------------------------------------------


def execute(request: Any, decoupled: bool) -> Any:  # noqa: ANN401, FBT001  # native objects; called by the core
    """Send a request and wait: an `InferenceResponse`, or an iterator of them."""
    call = _Call(request, takes_many=decoupled)
    answers: SimpleQueue[AnyAnswer] = SimpleQueue()
    call.start(answers.put, blocks=not decoupled)
    if decoupled:
        return ResponseIterator(call, answers)
    return call.response(call.first or answers.get())


def execute_async(request: Any, decoupled: bool) -> "asyncio.Future[Any]":  # noqa: ANN401, FBT001  # see above
    """Send a request; the future gives what `execute` returns. Cancelling it takes it back."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    call = _Call(request, takes_many=decoupled)
    if decoupled:
        answers: SimpleQueue[AnyAnswer] = SimpleQueue()
        call.start(answers.put)
        done.set_result(ResponseIterator(call, answers))
        return done

    def settle(answer: AnyAnswer) -> None:
        if not done.done():
            done.set_result(call.response(answer))

    def on_answer(answer: AnyAnswer) -> None:
        try:
            loop.call_soon_threadsafe(settle, answer)
        except RuntimeError:  # the loop was closed: nobody waits
            return

    call.start(on_answer)
    if call.first is not None:
        settle(call.first)
    done.add_done_callback(lambda future: call.cancel() if future.cancelled() else None)
    return done


class ResponseIterator:
    """Answers to a request, as they come; a decoupled model's last one may be without outputs."""

    def __init__(self, call: "_Call", answers: "SimpleQueue[AnyAnswer]") -> None:
        self._call = call
        self._answers = answers
        self._is_over = False

    def __iter__(self) -> Iterator[Any]:  # native objects
        """Return the iterator itself: answers are given once."""
        return self

    def __next__(self) -> Any:  # noqa: ANN401  # an InferenceResponse
        """Wait for the next answer."""
        if self._is_over:
            raise StopIteration
        answer = self._call.first or self._answers.get()
        self._is_over = answer.final
        return self._call.response(answer)

    def cancel(self) -> None:
        """Take the request back: no more answers come."""
        self._is_over = True
        self._call.cancel()

    def __del__(self) -> None:
        """Nobody reads the rest: the model need not make it."""
        if not self._is_over:
            self._call.cancel()


class _Refusal:
    """An answer to a request that was never sent."""

    final = True
    is_mark = False
    outputs: tuple[Any, ...] = ()
    parameters_json = ""

    def __init__(self, code: int, error: str) -> None:
        self.code = code
        self.error = error


class _Call:
    """One request of a model and what became of it.

    Attributes
    ----------
    first
        The answer that was there at once: a refusal.
    """

    def __init__(self, request: Any, *, takes_many: bool) -> None:  # noqa: ANN401  # a native request
        self._server = _server()
        target = _native.request_target(request)
        if target is None:
            raise _native.TritonModelException(
                "exec: only a request that the model made itself can be sent, not one it was given"
            )
        self._name, version = target
        self._version = "" if version == -1 else str(version)
        self._takes_many = takes_many
        self._request = _infer_request(request)
        self._number: int | None = None
        self.first: Any = None  # a _Refusal

    def start(self, on_answer: Callable[[AnyAnswer], None], *, blocks: bool = False) -> None:
        """Send the request; what is refused at once is an answer too."""
        try:
            self._number = self._server.start(
                self._request,
                name=self._name,
                version=self._version,
                takes_many=self._takes_many,
                blocks=blocks,
                on_answer=on_answer,
            )
        except (ModelNotFound, ModelNotReady) as error:
            self.first = _Refusal(error.code, _NOT_READY.format(name=self._name))
        except DecoupledModel as error:
            self.first = _Refusal(error.code, _DECOUPLED.format(name=self._name))
        except MpserveError as error:
            self.first = _Refusal(error.code, _FAILED.format(name=self._name, reason=error.message))

    def response(self, answer: AnyAnswer) -> Any:  # noqa: ANN401  # an InferenceResponse
        """Return the object that the model sees."""
        if answer.code:
            reason = answer.error
            if answer is not self.first:
                reason = _FAILED.format(name=self._name, reason=reason)
            code = getattr(_native.TritonError, error_name(ErrorCode(answer.code)))
            return _native.InferenceResponse([], _native.TritonError(reason, code))
        tensors = [
            _native.tensor_from_buffer(
                output.name,
                output.datatype,
                list(output.shape),
                output.data,
                output.parameters_json,
            )
            for output in answer.outputs
        ]
        return _native.InferenceResponse(tensors, parameters_json=answer.parameters_json)

    def cancel(self) -> None:
        """Take the request back; nothing happens when it is over."""
        if self._number is not None:
            self._server.cancel(self._number)
            self._number = None


def _infer_request(request: Any) -> InferRequest:  # noqa: ANN401  # a native request
    correlation = request.correlation_id()
    flags = request.flags()
    return InferRequest(
        id=request.request_id() or None,
        inputs=tuple(
            InputTensor(
                name=tensor.name(),
                datatype=Datatype(tensor.triton_dtype()),
                shape=tuple(tensor.shape()),
                data=_native.tensor_to_buffer(tensor),
                parameters_json=tensor.parameters_json(),
            )
            for tensor in request.inputs()
        ),
        outputs=tuple(
            RequestedOutput(name=name, binary=True) for name in request.requested_output_names()
        ),
        sequence=SequenceMark(
            number=correlation if isinstance(correlation, int) else 0,
            text=correlation if isinstance(correlation, str) else "",
            starts=bool(flags & _native.SEQUENCE_START),
            ends=bool(flags & _native.SEQUENCE_END),
        ),
        timeout_us=request.timeout(),
        parameters_json=request.parameters(),
        trace_context=_native.trace_link(request.trace()),
    )


def _server() -> Server:
    if _access.server is None or _access.phase is not Phase.EXECUTING:
        raise _native.TritonModelException(_OUTSIDE_EXECUTE)
    return _access.server


# --- the server's models ------------------------------------------------------------------------


def load_model(
    model_name: str | bytes, config: str = "", files: dict[str, bytes] | None = None
) -> None:
    """Load, or reload, a model of this server; raises `TritonModelException` when that fails.

    Parameters
    ----------
    config
        Configuration as JSON in place of the model's own.
    files
        Contents by `file:<path in the model's folder>`, in place of the model's own.
    """
    name = _name_of(model_name)
    failure = _control("load").load(name, config, _file_contents(name, files))
    if failure is not None:
        raise _native.TritonModelException(f"Failed to load model: {failure.message}")


def unload_model(model_name: str | bytes, unload_dependents: bool = False) -> None:  # noqa: FBT001, FBT002  # Triton's signature
    """Unload a model of this server; raises `TritonModelException` when that fails."""
    server = _control("unload")
    failure = server.unload(_name_of(model_name), unload_dependents=unload_dependents)
    if failure is not None:
        raise _native.TritonModelException(f"Failed to unload model: {failure.message}")


def is_model_ready(model_name: str | bytes, model_version: str = "") -> bool:
    """Tell whether a model of this server takes requests; "" is any version."""
    try:
        return _control("check").is_ready(_name_of(model_name), model_version)
    except MpserveError as error:
        raise _native.TritonModelException(
            f"Failed to check model readiness: {error.message}"
        ) from error


def _name_of(model: str | bytes) -> str:
    """Return a name, which may be an element of a BYTES tensor."""
    return model if isinstance(model, str) else bytes(model).decode()


def _file_contents(name: str, files: Any) -> dict[str, bytes]:  # noqa: ANN401  # a model's mistake too
    if files is None:
        return {}
    if not isinstance(files, dict):
        raise _wrong_files(name)
    for path, content in files.items():
        if not isinstance(path, str) or not isinstance(content, bytes):
            raise _wrong_files(name)
    return {path.removeprefix(_FILE_PREFIX): content for path, content in files.items()}


def _wrong_files(name: str) -> Exception:
    return _native.TritonModelException(
        f"failed to load model '{name}', files should be a dictionary of file paths and file"
        " contents"
    )


def _control(what: str) -> Server:
    if _access.server is None or _access.phase not in _MAY_CONTROL:
        raise _native.TritonModelException(
            f"can not {what} a model in '{_access.phase.value}': models can be loaded, unloaded and"
            " asked for in 'initialize' and 'execute'"
        )
    return _access.server
