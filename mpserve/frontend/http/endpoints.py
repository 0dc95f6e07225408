"""Every HTTP request that the native core does not answer: find its endpoint and answer it."""

import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from mpserve.codec import management_json
from mpserve.codec.management_json import LoadParameters
from mpserve.dialect import Dialect, Operation, TransportFault
from mpserve.errors import ErrorCode, Failure, MpserveError, Unsupported
from mpserve.frontend.handlers.handlers import Handlers
from mpserve.frontend.handlers.repository import RepositoryResult
from mpserve.frontend.http import responses
from mpserve.frontend.http.answer_stream import StreamingExchange
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.compression import compressed
from mpserve.frontend.http.cors import Cors
from mpserve.frontend.http.document_endpoints import DocumentEndpoints
from mpserve.frontend.http.event_query import read_event_query
from mpserve.frontend.http.region_endpoints import RegionEndpoints
from mpserve.frontend.http.responses import HttpResponse
from mpserve.frontend.http.restriction import Restrictions
from mpserve.frontend.http.routes import ROUTES, Endpoint, Match
from mpserve.frontend.http.setting_endpoints import SettingEndpoints
from mpserve.model.event import EventPage
from mpserve.model.identity import model_name
from mpserve.telemetry import log

_OPERATIONS: Final[Mapping[Endpoint, Operation]] = {
    Endpoint.LIVE: Operation.HEALTH,
    Endpoint.READY: Operation.HEALTH,
    Endpoint.MODEL_READY: Operation.MODEL_READY,
    Endpoint.SERVER_METADATA: Operation.SERVER_METADATA,
    Endpoint.MODEL_METADATA: Operation.MODEL_METADATA,
    Endpoint.MODEL_CONFIG: Operation.MODEL_CONFIG,
    Endpoint.STATISTICS: Operation.STATISTICS,
    Endpoint.INFER: Operation.INFER_OPENING,
    Endpoint.INFER_STREAM: Operation.INFER_OPENING,
    Endpoint.GENERATE: Operation.GENERATE,
    Endpoint.GENERATE_STREAM: Operation.GENERATE,
    Endpoint.INDEX: Operation.INDEX,
    Endpoint.LOAD: Operation.LOAD,
    Endpoint.UNLOAD: Operation.UNLOAD,
    Endpoint.EVENTS: Operation.INDEX,
    Endpoint.TRACE: Operation.TRACE,
    Endpoint.LOGGING: Operation.LOGGING,
    Endpoint.SYSTEM_REGION_STATUS: Operation.SHARED_MEMORY,
    Endpoint.SYSTEM_REGION_REGISTER: Operation.SHARED_MEMORY,
    Endpoint.SYSTEM_REGION_UNREGISTER: Operation.SHARED_MEMORY,
    Endpoint.CUDA_REGION_STATUS: Operation.SHARED_MEMORY,
    Endpoint.CUDA_REGION_REGISTER: Operation.SHARED_MEMORY,
    Endpoint.CUDA_REGION_UNREGISTER: Operation.SHARED_MEMORY,
    Endpoint.DOCUMENT: Operation.MODEL_METADATA,
    Endpoint.DOCUMENT_PAGE: Operation.MODEL_METADATA,
    Endpoint.HANDLER: Operation.INFER_OPENING,
}
_STATES: Final = frozenset((Endpoint.LIVE, Endpoint.READY, Endpoint.MODEL_READY, Endpoint.INFER))
"""Of `TransportFault.WRONG_METHOD_OF_STATE`."""
_OWN_PATH: Final = Match(endpoint=Endpoint.HANDLER, method="")
"""What a path leads to that the protocol does not have."""


StartInference = Callable[[StreamingExchange, HttpRequest, str, str], None]
"""Starts an inference by a version of a model; may raise `MpserveError`."""


class Endpoints:
    """Answers requests; never raises.

    Parameters
    ----------
    inferences
        Every way to ask for an inference.
    cors
        Answers pages of other origins; `None`: they are not told that they may read.
    root_path
        What stands before the server's paths in links.
    compresses
        Answers may be compressed for clients that ask for it.
    """

    def __init__(
        self,
        *,
        dialect: Dialect,
        handlers: Handlers,
        inferences: Mapping[Endpoint, StartInference],
        restrictions: Restrictions,
        max_body_bytes: int,
        cors: Cors | None = None,
        root_path: str = "",
        compresses: bool = True,
    ) -> None:
        self._dialect = dialect
        self._routes = ROUTES[dialect.name]
        self._health = handlers.health
        self._metadata = metadata = handlers.metadata
        self._statistics = handlers.statistics
        self._repository = calls = handlers.repository
        self._restrictions = restrictions
        self._cors = cors
        self._compresses = compresses and dialect.compresses_documents
        self._max_body_bytes = max_body_bytes
        settings = SettingEndpoints(dialect=dialect, metadata=metadata, calls=calls)
        documents = DocumentEndpoints(metadata=metadata, root_path=root_path)
        memory = RegionEndpoints(dialect=dialect, regions=handlers.regions, calls=calls)
        self._answers: Mapping[
            Endpoint, Callable[[StreamingExchange, HttpRequest, Match], HttpResponse | None]
        ] = {
            Endpoint.LIVE: self._live,
            Endpoint.READY: self._ready,
            Endpoint.MODEL_READY: self._model_ready,
            Endpoint.SERVER_METADATA: self._server_metadata,
            Endpoint.MODEL_METADATA: self._model_metadata,
            Endpoint.MODEL_CONFIG: self._model_config,
            Endpoint.STATISTICS: self._model_statistics,
            **{
                endpoint: partial(self._start_inference, start)
                for endpoint, start in inferences.items()
            },
            Endpoint.INDEX: self._index,
            Endpoint.LOAD: self._load,
            Endpoint.UNLOAD: self._unload,
            Endpoint.EVENTS: self._events,
            Endpoint.TRACE: settings.trace,
            Endpoint.LOGGING: settings.logging,
            Endpoint.SYSTEM_REGION_STATUS: memory.status,
            Endpoint.SYSTEM_REGION_REGISTER: memory.register,
            Endpoint.SYSTEM_REGION_UNREGISTER: memory.unregister,
            Endpoint.CUDA_REGION_STATUS: memory.cuda_status,
            Endpoint.CUDA_REGION_REGISTER: memory.cuda_register,
            Endpoint.CUDA_REGION_UNREGISTER: memory.cuda_unregister,
            Endpoint.DOCUMENT: documents.document,
            Endpoint.DOCUMENT_PAGE: documents.page,
        }

    def answer(self, exchange: StreamingExchange) -> None:
        """Answer a request, now or when its answer is there."""
        try:
            response = self._response(exchange)
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error(
                "request.crashed",
                target=exchange.target.decode("latin-1"),
                error=repr(error),
                traceback=traceback.format_exc(),
            )
            response = responses.failure_response(
                Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}"),
                dialect=self._dialect,
                operation=Operation.INFER,
            )
        if response is not None:
            self._send(exchange, response)

    def _send(self, exchange: StreamingExchange, response: HttpResponse) -> None:
        """Answer; compressed, where the dialect does that with whatever it answers."""
        if self._compresses:
            response = compressed(
                response, exchange, from_bytes=self._dialect.compresses_from_bytes
            )
        responses.send(exchange, response)

    def _response(self, exchange: StreamingExchange) -> HttpResponse | None:
        match = self._routes.match(exchange.target) or _OWN_PATH
        http = HttpRequest(exchange, max_body_bytes=self._max_body_bytes)
        if self._cors is not None:
            preflight = self._cors.preflight(exchange.method, http)
            if preflight is not None:
                return preflight
            exchange.add_headers(self._cors.headers(http))
        lacking = self._restrictions.missing_header(match.endpoint, http)
        if lacking is not None:
            return responses.fault_response(
                TransportFault.RESTRICTED,
                f"This API is restricted, expecting header '{lacking}'",
                dialect=self._dialect,
            )
        if match is not _OWN_PATH and exchange.method not in {match.method, match.other_method}:
            is_state = match.endpoint in _STATES
            return responses.fault_response(
                TransportFault.WRONG_METHOD_OF_STATE if is_state else TransportFault.WRONG_METHOD,
                "Method Not Allowed",
                dialect=self._dialect,
                headers=((b"Allow", match.allowed.encode()),),
            )
        if match.counted_route:
            exchange.count_at(match.counted_route)
        try:
            return self._answers[match.endpoint](exchange, http, match)
        except MpserveError as error:
            operation = _OPERATIONS[match.endpoint]
            return responses.error_response(error, dialect=self._dialect, operation=operation)

    # --- health and metadata --------------------------------------------------------------------

    def _live(self, *_: object) -> HttpResponse:
        return responses.health_response(
            self._dialect.live if self._health.is_live else self._dialect.not_live
        )

    def _ready(self, *_: object) -> HttpResponse:
        return responses.health_response(
            self._dialect.ready if self._health.is_ready else self._dialect.not_ready
        )

    def _model_ready(self, _: object, __: object, match: Match) -> HttpResponse:
        self._metadata.check_ready(match.model, self._version(match))
        return responses.health_response(self._dialect.model_ready)

    def _server_metadata(self, *_: object) -> HttpResponse:
        return responses.json_response(
            management_json.server_metadata_body(self._metadata.server())
        )

    def _model_metadata(self, _: object, __: object, match: Match) -> HttpResponse:
        metadata = self._metadata.model(match.model, self._version(match))
        return responses.json_response(
            management_json.model_metadata_body(metadata, dialect=self._dialect)
        )

    def _model_config(self, _: object, __: object, match: Match) -> HttpResponse:
        text = self._metadata.config(match.model, self._version(match))
        return responses.json_response(text.encode())

    def _model_statistics(self, _: object, __: object, match: Match) -> HttpResponse:
        found = (
            self._statistics.of_model(match.model, self._version(match))
            if match.model
            else self._statistics.of_all()
        )
        return responses.json_response(msgspec.json.encode(found))

    # --- inference ------------------------------------------------------------------------------

    def _start_inference(
        self, start: StartInference, exchange: StreamingExchange, http: HttpRequest, match: Match
    ) -> None:
        start(exchange, http, match.model, self._version(match))

    # --- repository -----------------------------------------------------------------------------

    def _index(self, exchange: StreamingExchange, http: HttpRequest, _: Match) -> None:
        ready_only = management_json.read_index(http.body(), dialect=self._dialect)
        self._repository.index(
            partial(self._send_result, exchange, Operation.INDEX), ready_only=ready_only
        )

    def _events(self, exchange: StreamingExchange, _: HttpRequest, __: Match) -> None:
        wanted = read_event_query(exchange.target)
        self._repository.events(
            partial(self._send_events, exchange), model=wanted.model, since=wanted.since
        )

    def _send_events(self, exchange: StreamingExchange, result: Failure | EventPage) -> None:
        if isinstance(result, Failure):
            response = responses.failure_response(
                result, dialect=self._dialect, operation=Operation.INDEX
            )
        else:
            response = responses.json_response(msgspec.json.encode(result))
        self._send(exchange, response)

    def _load(self, exchange: StreamingExchange, http: HttpRequest, match: Match) -> None:
        self._refuse_repository_name(match)
        name = model_name(match.model)
        parameters = (
            management_json.read_load(http.body())
            if self._dialect.load_reads_body
            else LoadParameters()
        )
        self._repository.load(
            name, parameters, partial(self._send_result, exchange, Operation.LOAD)
        )

    def _unload(self, exchange: StreamingExchange, http: HttpRequest, match: Match) -> None:
        self._refuse_repository_name(match)
        dependents = self._dialect.load_reads_body and management_json.read_unload(http.body())
        self._repository.unload(
            match.model,
            partial(self._send_result, exchange, Operation.UNLOAD),
            unload_dependents=dependents,
        )

    def _send_result(
        self, exchange: StreamingExchange, operation: Operation, result: RepositoryResult
    ) -> None:
        if isinstance(result, Failure):
            response = responses.failure_response(
                result, dialect=self._dialect, operation=operation
            )
        elif result is None:
            response = HttpResponse(status=200, content_type=self._dialect.done_content_type)
        else:
            response = responses.json_response(
                management_json.index_body(result, dialect=self._dialect)
            )
        self._send(exchange, response)

    # --- parts of paths -------------------------------------------------------------------------

    def _version(self, match: Match) -> str:
        return self._routes.check_version(match.version)

    def _refuse_repository_name(self, match: Match) -> None:
        if match.repository:
            raise Unsupported("'repository_name' specification is not supported")
