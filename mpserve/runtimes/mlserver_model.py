"""Runtime of MLServer's custom models: any subclass of `mlserver.MLModel`.

Where the real `mlserver` is installed, models run on it; else `import mlserver` finds the
compatible package.

Owner: the runtime owns a private event loop, on which the model's methods run. The worker turns it
(`mpserve.worker.overlap`); with nothing under way, nor any task of the model's, it stands still.
"""

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from mpserve.compat.mlserver.alias import supply_mlserver
from mpserve.errors import ErrorCode, Failure, LoadError
from mpserve.model.config import ModelConfig
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.runtimes.mlserver_handlers import HandlerMethods
from mpserve.runtimes.mlserver_wire import to_answer, to_inference_request
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response
from mpserve.runtimes.responses import (
    Answer,
    NativeResponses,
    ResponseBuilder,
    failure_of,
    last_line,
)
from mpserve.runtimes.stacking import StackedRequest, alike, in_order
from mpserve.telemetry import log

SETTINGS_FILE: Final = "model-settings.json"

_CODE_OF_STATUS: Final = {
    400: ErrorCode.INVALID_ARGUMENT,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.ALREADY_EXISTS,
    422: ErrorCode.INVALID_ARGUMENT,
    429: ErrorCode.EXHAUSTED,
    499: ErrorCode.CANCELLED,
    501: ErrorCode.UNSUPPORTED,
    503: ErrorCode.UNAVAILABLE,
    504: ErrorCode.DEADLINE,
}
"""Status of an `MLServerError` -> code; any other is the client's mistake below 500, else the
model's failure."""


class MLServerModelRuntime:
    """Runs a user's `MLModel`; satisfies `mpserve.runtimes.protocol.Runtime`."""

    name = "mlserver"
    default_files: tuple[str, ...] = ()

    def __init__(self, responses: ResponseBuilder | None = None) -> None:
        self._responses = responses
        self._loop: asyncio.AbstractEventLoop | None = None
        self._model: Any = None  # the user's
        self._handlers = HandlerMethods(None)

    def load(self, context: LoadContext) -> CompletedConfig:
        """Import the class, make the model and await its `load`.

        Raises
        ------
        LoadError
            With the last line of what the model's code raised, which is its cause.
        """
        try:
            return self._import_and_load(context)
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(last_line(error)) from error

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the model lives on."""
        assert self._loop is not None, "loop before load"
        return self._loop

    def execute(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Answer a batch, and wait for it."""
        return self.loop.run_until_complete(self.execute_overlapping(requests))

    async def execute_overlapping(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Await `predict`, once for all requests that are alike: MLServer's adaptive batching."""
        if len(requests) == 1:
            return [await self._predict(requests[0])]
        groups = alike(requests)
        members = ([requests[place] for place in places] for places in groups)
        return in_order(groups, await asyncio.gather(*map(self._predict_group, members)))

    async def stream(
        self, request: Request, further: AsyncIterator[Request]
    ) -> AsyncGenerator[Response, None]:
        """Yield what `predict_stream` yields for a stream of this request and further ones."""
        assert self._responses is not None, "stream before load"
        try:
            with self._model_context(self._settings):
                answers = self._model.predict_stream(self._payloads(request, further))
                async with _closing(answers):
                    async for response in answers:
                        yield self._responses.answer(to_answer(response))
        except self._error_class as error:
            yield self._responses.refuse(_failure_with_status(error))
        except Exception as error:  # noqa: BLE001  # the border around the model's code
            yield self._responses.refuse(failure_of(error))

    def unload(self) -> None:
        """Await the model's `unload` and close the loop."""
        model, self._model = self._model, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            if model is not None:
                loop.run_until_complete(self._unload(model))
            loop.run_until_complete(_end_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    def _import_and_load(self, context: LoadContext) -> CompletedConfig:
        supply_mlserver()
        _add_import_path(context.model_directory)
        self._responses = self._responses or NativeResponses()
        self._types = importlib.import_module("mlserver.types")
        self._error_class: type[Exception] = importlib.import_module(
            "mlserver.errors"
        ).MLServerError
        self._model_context = importlib.import_module("mlserver.context").model_context
        self._settings = _model_settings(context)
        self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._load(context))

    async def _load(self, context: LoadContext) -> CompletedConfig:
        with self._model_context(self._settings):
            model = self._settings.implementation(self._settings)
            loaded = await model.load()
        # Nothing is yes, as it is to MLServer's workers: what many tutorials' models return.
        if loaded is not None and not loaded:
            raise LoadError(
                f"load of '{self._settings.implementation_}' returned {loaded!r}; return True when"
                " the model is ready"
            )
        model.ready = True
        self._model = model  # only now: a model that did not load is not asked to unload
        self._handlers = HandlerMethods(model)
        config = _with_declared_tensors(context.config, model)
        return CompletedConfig(
            config=msgspec.structs.replace(
                config,
                handlers=self._handlers.routes,
                takes_headers=True,
                answers_streams=_answers_streams(model),
                metadata_json=await self._metadata(model),
            ),
            config_json=context.config_json,
        )

    async def _metadata(self, model: Any) -> str:  # noqa: ANN401
        """Return what the model says of itself now, "" where it fails to."""
        try:
            with self._model_context(self._settings):
                told = await model.metadata()
            return str(told.model_dump_json())
        except Exception as error:  # noqa: BLE001  # it serves without
            log.warning("metadata.failed", model=self._settings.name, reason=last_line(error))
            return ""

    async def _unload(self, model: Any) -> None:  # noqa: ANN401
        with self._model_context(self._settings):
            await model.unload()

    async def _predict_group(self, requests: Sequence[Request]) -> Sequence[Response]:
        assert self._responses is not None, "execute before load"
        if len(requests) > 1:
            try:
                stacked = StackedRequest(requests)
                answer = await self._ask(stacked)
                answered = self._responses.answer_rows(answer, stacked.rows)
                if answered is not None:
                    return answered
            except Exception as error:  # noqa: BLE001  # told by the request that is to blame
                log.debug("batch.divided", requests=len(requests), reason=last_line(error))
        return await asyncio.gather(*map(self._predict, requests))

    async def _ask(self, request: Request) -> Answer:
        with self._model_context(self._settings):
            if request.is_handler_call():
                return await self._handlers.answer(request)
            response = await self._model.predict(self._payload(request))
        return to_answer(response)

    def _payload(self, request: Request) -> Any:  # noqa: ANN401  # either package's
        return to_inference_request(request, self._types, model_name=self._settings.name)

    async def _payloads(self, request: Request, further: AsyncIterator[Request]) -> Any:  # noqa: ANN401
        """Yield the requests of a stream, which all have the id of the first."""
        first = self._payload(request)
        yield first
        async for one in further:
            payload = self._payload(one)
            payload.id = first.id
            yield payload

    async def _predict(self, request: Request) -> Response:
        assert self._responses is not None, "execute before load"
        try:
            return self._responses.answer(await self._ask(request))
        except self._error_class as error:
            return self._responses.refuse(_failure_with_status(error))
        except Exception as error:  # noqa: BLE001  # the border around the model's code
            return self._responses.refuse(failure_of(error))


def _answers_streams(model: Any) -> bool:  # noqa: ANN401  # the user's
    """Tell whether `predict_stream` is the model's own."""
    base = importlib.import_module("mlserver").MLModel
    return getattr(type(model), "predict_stream", None) is not base.predict_stream


def _add_import_path(folder: str) -> None:
    """Let the model's modules be imported from its folder, before all others."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()


def _model_settings(context: LoadContext) -> Any:  # noqa: ANN401  # either package's ModelSettings
    """Return the settings as MLServer's repository completes them: with name and URI."""
    settings_class = importlib.import_module("mlserver.settings").ModelSettings
    members = orjson.loads(context.settings_json)
    members["name"] = context.model_name
    parameters = members.get("parameters") or {}
    members["parameters"] = {**parameters, "uri": parameters.get("uri") or context.model_directory}
    settings = settings_class.model_validate(members)
    settings._source = str(Path(context.model_directory, SETTINGS_FILE))  # noqa: SLF001  # the peer's name for it
    return settings


def _with_declared_tensors(config: ModelConfig, model: Any) -> ModelConfig:  # noqa: ANN401
    """Return the configuration with the inputs and outputs that the model declares by now."""
    signature = msgspec.structs.replace(
        config.signature,
        inputs=_tensor_specs(model.inputs) or config.signature.inputs,
        outputs=_tensor_specs(model.outputs) or config.signature.outputs,
    )
    return msgspec.structs.replace(config, signature=signature)


def _tensor_specs(tensors: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401
    return tuple(
        TensorSpec(
            name=tensor.name,
            datatype=Datatype[getattr(tensor.datatype, "value", tensor.datatype)],
            shape=tuple(tensor.shape),
        )
        for tensor in tensors or ()
    )


@asynccontextmanager
async def _closing(answers: Any) -> AsyncIterator[None]:  # noqa: ANN401  # the user's
    """Close what `predict_stream` returned at the end, if it can be closed."""
    try:
        yield
    finally:
        close = getattr(answers, "aclose", None)
        if close is not None:
            await close()


def _failure_with_status(error: Any) -> Failure:  # noqa: ANN401  # an MLServerError
    status = error.status_code
    other = ErrorCode.INVALID_ARGUMENT if 400 <= status < 500 else ErrorCode.MODEL_FAILED
    code = _CODE_OF_STATUS.get(status, other)
    return Failure(code=code, message=str(error))


async def _end_tasks() -> None:
    """Cancel what the model left running, and wait for its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
