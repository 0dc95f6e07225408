"""Triton's Python backend: a `model.py` with a class `TritonPythonModel`.

Guarantees
    Whatever the model returns or raises, each request is answered or the call raises `ModelError`
    with Triton's words.
Source: Triton Python backend (class contract, `execute` results); errors word for word.
"""

import asyncio
import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from mpserve.compat import triton_bls
from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.compat.triton_place import set_model_dir
from mpserve.errors import LoadError, ModelError, MpserveError, Unsupported
from mpserve.model.triton.completion import complete
from mpserve.runtimes.coroutine_loop import CoroutineLoop
from mpserve.runtimes.model_trace import describe_exception
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response
from mpserve.runtimes.python_model_file import DEFAULT_FILE, import_model_class
from mpserve.telemetry import log

_Results = Sequence[Response | None]
_Execute = Callable[[list[Request]], Any]  # Any: a model may return anything

CPU_ONLY_PARAMETER: Final = "FORCE_CPU_ONLY_INPUT_TENSORS"
STUB_FILE: Final = "triton_python_backend_stub"
_KIND_PREFIX: Final = "KIND_"
_DEVICE_ID: Final = "0"  # Triton's text for the CPU

# The native objects satisfy the protocols of runtimes; the stub can not say so.
_RESPONSE: Final[type] = pb_utils.InferenceResponse
_answers_all: Final = cast("Callable[[object, object], bool]", pb_utils.answers_all)
_is_rescheduled: Final = cast("Callable[[Request], bool]", pb_utils.is_rescheduled)
_sent_response: Final = cast("Callable[[Request], Response | None]", pb_utils.sent_response)


class PythonBackendRuntime:
    """Loads and executes a `TritonPythonModel`."""

    name = "python"
    default_files = (DEFAULT_FILE,)

    def __init__(self) -> None:
        self._model: Any = None  # the user's object
        self._initialized = False
        self._instance_name = ""
        self._execute: _Execute = _no_model
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coroutines: CoroutineLoop | None = None

    def load(self, context: LoadContext) -> CompletedConfig:
        """Import the model, let it complete its configuration, and initialize it."""
        self._instance_name = context.instance_name
        check_parameters(context)
        _look_for_a_stub(context)
        pb_utils.supply()
        set_model_dir(context.version_directory)
        try:
            return self._load(context)
        except MpserveError:
            raise
        except BaseException as error:  # sys.exit() in a model is a failed load
            raise LoadError(describe_exception(error, outside=__file__)) from error

    def execute(self, requests: Sequence[Request]) -> _Results:
        """Let the model answer a batch; raises `ModelError` when the whole batch failed."""
        try:
            # A list of the model's own: it may keep or change it.
            results = self._execute(list(requests))
            if _answers_all(results, requests):
                return cast("_Results", results)
            if type(results) is not list:
                results = self._settle(results, requests)
        except MpserveError:
            raise
        except BaseException as error:  # SystemExit too: a request never ends the worker
            raise self._failed(describe_exception(error, outside=__file__)) from error
        return self._checked(results, requests)

    def execute_stream(self, requests: Sequence[Request]) -> None:
        """Let a decoupled model take a batch; its response senders answer."""
        try:
            results = self._execute(list(requests))
        except MpserveError:
            raise
        except BaseException as error:  # SystemExit too: a request never ends the worker
            raise self._failed(describe_exception(error, outside=__file__)) from error
        if inspect.iscoroutine(results):
            self._begin(results, list(requests))
        elif results is not None:
            raise self._returned_something()

    def _begin(self, coroutine: Coroutine[Any, Any, Any], requests: list[Request]) -> None:
        """Let a coroutine answer while the next requests begin."""
        if self._coroutines is None:
            self._coroutines = CoroutineLoop()

        def on_result(result: object) -> None:
            if result is not None:
                fail_unanswered(requests, self._returned_something().message)
            requests.clear()

        def on_failure(error: BaseException) -> None:
            text = describe_exception(error, outside=__file__)
            log.error("model.raised", instance=self._instance_name, traceback=text)
            fail_unanswered(requests, self._failed(text).message)
            requests.clear()

        self._coroutines.start(coroutine, on_result=on_result, on_failure=on_failure)

    def _returned_something(self) -> ModelError:
        return ModelError(
            f"Python model '{self._instance_name}' is using the decoupled mode and the execute"
            " function must return None."
        )

    @property
    def checks_itself(self) -> bool:
        """Say whether the model defines `is_ready`."""
        return hasattr(self._model, "is_ready")

    def complaint(self) -> str:
        """Ask the model's `is_ready`, which may be a coroutine; return what it complains of."""
        of_model = f"Model '{self._instance_name}' is not ready"
        try:
            said = self._model.is_ready()
            if inspect.iscoroutine(said):
                said = asyncio.run(said)
        except BaseException as error:  # noqa: BLE001  # it says nothing about itself: not ready
            return f"{of_model}: {describe_exception(error, outside=__file__)}"
        if not isinstance(said, bool):
            return f"{of_model}: is_ready() must return a boolean value"
        return "" if said else f"{of_model} (user-defined check failed)."

    def unload(self) -> None:
        """Finalize the model; what it raises goes to the log."""
        if self._coroutines is not None:
            self._coroutines.close()
            self._coroutines = None
        model, self._model = self._model, None
        self._execute = _no_model
        triton_bls.enter(triton_bls.Phase.FINALIZING)
        if self._initialized and hasattr(model, "finalize"):
            try:
                model.finalize()
            except BaseException as error:  # noqa: BLE001  # nothing is left to fail
                text = describe_exception(error, outside=__file__)
                log.error("model.raised", instance=self._instance_name, traceback=text)
        self._initialized = False
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    # --- loading ---------------------------------------------------------------------------------

    def _load(self, context: LoadContext) -> CompletedConfig:
        filename = context.config.default_model_filename or DEFAULT_FILE
        model_class = import_model_class(
            model_directory=context.model_directory,
            version_directory=context.version_directory,
            filename=filename,
        )
        triton_bls.enter(triton_bls.Phase.COMPLETING)
        completed = self._complete_config(model_class, context)
        triton_bls.enter(triton_bls.Phase.INITIALIZING)
        self._model = model_class()
        if hasattr(self._model, "initialize"):
            self._model.initialize(_arguments(context, completed.config_json))
        self._initialized = True
        triton_bls.enter(triton_bls.Phase.EXECUTING)
        execute = getattr(self._model, "execute", None)
        if execute is None:
            text = (
                f"Python model {context.version_directory}/{filename} does not implement"
                " `execute` method."
            )
            self._execute = _refusing(self._failed(text).message)
        else:
            self._execute = execute
        return completed

    def _complete_config(self, model_class: Any, context: LoadContext) -> CompletedConfig:  # noqa: ANN401  # the user's class
        """Return the configuration that holds from now on, `initialize` included."""
        given = context.config_json
        if not context.complete_config:
            return CompletedConfig(config=context.config, config_json=given)
        if not hasattr(model_class, "auto_complete_config"):
            return complete(given, returned_json=given)
        returned = model_class.auto_complete_config(pb_utils.ModelConfig(given))
        if not isinstance(returned, pb_utils.ModelConfig):
            raise LoadError(
                f"auto_complete_config function in model '{self._instance_name}' must return a"
                " valid pb.ModelConfig object."
            )
        return complete(given, returned_json=json.dumps(returned.as_dict()))

    # --- executing -------------------------------------------------------------------------------

    def _settle(self, results: Any, requests: Sequence[Request]) -> list[Response | None]:  # noqa: ANN401  # a model may return anything
        """Return the list that an `execute` of another form stands for."""
        if inspect.iscoroutine(results):
            results = self._await(results)
        if results is None and all(_sent_response(request) for request in requests):
            return [None] * len(requests)
        if not isinstance(results, list):
            raise self._failed(
                f"Expected a list in the execute return, found type '{type(results)}'."
            )
        return results

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  # a model may return anything
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(coroutine)

    def _checked(self, results: list[Response | None], requests: Sequence[Request]) -> _Results:
        """Return one answer for each request."""
        if len(results) != len(requests):
            raise self._failed(
                "Number of InferenceResponse objects do not match the number of InferenceRequest"
                f" objects. InferenceRequest(s) size is:{len(requests)}, and InferenceResponse(s)"
                f" size is:{len(results)}\n"
            )
        return [self._answer(*pair) for pair in zip(results, requests, strict=True)]

    def _answer(self, result: Response | None, request: Request) -> Response | None:
        if _is_rescheduled(request):
            if result is None:
                return None
            raise self._failed(
                "Expected a None object in the execute function return list for reschduled request,"
                f" found type '{type(result)}'."
            )
        if isinstance(result, _RESPONSE):
            return cast("Response", result)
        text = (
            "Expected an 'InferenceResponse' object in the execute function return list, found"
            f" type '{type(result)}'."
        )
        if result is not None:
            raise self._failed(text)
        sent = _sent_response(request)
        if sent is not None:
            return sent
        # Triton never answers this request; it is the only one that is failed here.
        error = pb_utils.TritonError(self._failed(text).message)
        return cast("Response", _RESPONSE([], error))

    def _failed(self, text: str) -> ModelError:
        return ModelError(
            "Failed to process the request(s) for model instance"
            f" '{self._instance_name}', message: {text}"
        )


def fail_unanswered(requests: Sequence[Request], message: str) -> None:
    """Answer those requests of a decoupled model with an error that it has not finished."""
    for request in requests:
        sender = cast("Any", request).get_response_sender()  # of native requests only
        error = pb_utils.InferenceResponse([], pb_utils.TritonError(message))
        with contextlib.suppress(pb_utils.TritonModelException):  # it was closed
            sender.send(error, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def check_parameters(context: LoadContext) -> None:
    """Check what means something to Triton alone: all our tensors are in the CPU's memory.

    Raises
    ------
    Unsupported
        In Triton's words.
    """
    value = context.config.parameters.get(CPU_ONLY_PARAMETER, "yes")
    if value not in {"yes", "no"}:
        raise Unsupported(f"Incorrect value for {CPU_ONLY_PARAMETER}: {value}'")  # its quotes


def _look_for_a_stub(context: LoadContext) -> None:
    stub = Path(context.model_directory, STUB_FILE)
    if stub.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        log.warning("stub.unused", model=context.model_name, path=str(stub), python=version)


def _arguments(context: LoadContext, config_json: str) -> dict[str, str]:
    """Return what `initialize` gets: all texts."""
    return {
        "model_config": config_json,
        "model_instance_kind": context.instance_kind.removeprefix(_KIND_PREFIX),
        "model_instance_name": context.instance_name,
        "model_instance_device_id": _DEVICE_ID,
        "model_repository": context.model_directory,
        "model_version": context.version,
        "model_name": context.model_name,
    }


def _refusing(message: str) -> _Execute:
    def refuse(requests: list[Request]) -> NoReturn:
        del requests
        raise ModelError(message)

    return refuse


def _no_model(requests: list[Request]) -> NoReturn:
    del requests
    raise ModelError("no model is loaded")
