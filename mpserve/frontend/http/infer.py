"""`POST /v2/models/M[/versions/V]/infer` in full: everything that the native core leaves to Python.

The order of the steps decides which fault is told, and is Triton's: version, model, compression,
length of the JSON part, then the body.
"""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from mpserve.codec import mlserver_json, v2_json
from mpserve.codec.cloud_events import Events, http_fields
from mpserve.codec.content_encoding import ContentEncoding, accepted_encoding, deflate
from mpserve.codec.v2_binary import HEADER_NAME, json_part_bytes
from mpserve.codec.v2_json import RequestContext
from mpserve.codec.v2_response import EncodedAnswer, encode
from mpserve.dialect import Dialect, DialectName, Operation
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.frontend.handlers.answer_context import answer_context
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.frontend.http import responses
from mpserve.frontend.http.arrival import http_arrival
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.responses import Exchange, Header, HttpResponse
from mpserve.model.request import Bytes, InferRequest
from mpserve.shm.dispatcher import Answer
from mpserve.telemetry import log


class Decode(Protocol):
    """Body of a request -> request."""

    def __call__(  # noqa: D102  the class says it
        self, body: Bytes, *, json_bytes: int, context: RequestContext
    ) -> InferRequest: ...


_DECOUPLED_REFUSAL: Final = (
    "HTTP end point doesn't support models with decoupled transaction policy"
)
DECODERS: Final[Mapping[DialectName, Decode]] = {
    DialectName.TRITON: v2_json.decode,
    DialectName.MLSERVER: mlserver_json.decode,
}


class CancellableExchange(Exchange, Protocol):
    """An exchange that tells when its client goes."""

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client goes before it is answered."""


class _OpenBody(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A body without its coding, and how much of it is JSON."""

    body: Bytes
    json_bytes: int


class HttpInfer:
    """The inference endpoint."""

    def __init__(
        self,
        *,
        handler: InferHandler,
        labels: LabelFiles,
        forwarding: HeaderForwarding,
        dialect: Dialect,
        max_input_bytes: int,
        events: Events,
        compresses: bool,
    ) -> None:
        self._compresses = compresses
        self._handler = handler
        self._labels = labels
        self._forwarding = forwarding
        self._dialect = dialect
        self._events = events
        self._decode = DECODERS[dialect.name]
        self._max_input_bytes = max_input_bytes

    def answer(
        self, exchange: CancellableExchange, http: HttpRequest, name: str, version: str
    ) -> None:
        """Start the inference; its answer, or why there is none, goes to the exchange."""
        operation = Operation.INFER_OPENING
        try:
            routed = self._handler.find(name, version, decoupled_refusal=_DECOUPLED_REFUSAL)
            body = self._open(http)
            operation = Operation.INFER
            request = self._read(exchange, body, routed)
            routed = self._handler.follow(request, routed)
            on_answer = partial(self._on_answer, exchange, http, request, routed)
            token = self._handler.start(
                request,
                routed=routed,
                on_answer=on_answer,
                arrival=partial(http_arrival, exchange),
            )
        except MpserveError as error:
            responses.send(
                exchange,
                responses.error_response(error, dialect=self._dialect, operation=operation),
            )
            return
        exchange.on_client_gone(partial(self._handler.cancel, token))

    def read(self, exchange: Exchange, http: HttpRequest, routed: RoutedModel) -> InferRequest:
        """Return the request of an exchange; raises `MpserveError`."""
        return self._read(exchange, self._open(http), routed)

    def encode(
        self, answer: Answer, request: InferRequest, routed: RoutedModel, parameters_json: str
    ) -> EncodedAnswer:
        """Return an answer as it goes on the wire; raises as `v2_response.encode`."""
        return encode(
            answer.outputs,
            request=request,
            parameters_json=parameters_json,
            context=answer_context(request, routed, dialect=self._dialect, labels=self._labels),
        )

    def _open(self, http: HttpRequest) -> _OpenBody:
        body = http.body()
        header = http.header(HEADER_NAME.lower().encode())
        return _OpenBody(body=body, json_bytes=json_part_bytes(header, body_bytes=len(body)))

    def _read(self, exchange: Exchange, opened: _OpenBody, routed: RoutedModel) -> InferRequest:
        context = RequestContext(
            model_name=routed.model.name,
            signature=routed.version.config.signature,
            max_input_bytes=self._max_input_bytes,
        )
        decoded = self._decode(opened.body, json_bytes=opened.json_bytes, context=context)
        request = self._handler.identified(decoded)
        request = self._forwarding.apply(request, exchange.headers_as_sent)
        # Of repeated ones the first counts.
        headers = reversed(exchange.headers)
        return self._forwarding.carry(request, headers, routed.version.config)

    def _on_answer(
        self,
        exchange: Exchange,
        http: HttpRequest,
        request: InferRequest,
        routed: RoutedModel,
        answer: Answer,
    ) -> None:
        """Write the answer. Called by the dispatcher, so nothing may escape."""
        try:
            response = self._response(http, request, routed, answer)
        except MpserveError as error:
            response = responses.error_response(
                error, dialect=self._dialect, operation=Operation.INFER_ANSWER
            )
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("request.crashed", request_id=request.id, error=repr(error))
            response = responses.failure_response(
                Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}"),
                dialect=self._dialect,
                operation=Operation.INFER_ANSWER,
            )
        responses.send(exchange, response)

    def _response(
        self, http: HttpRequest, request: InferRequest, routed: RoutedModel, answer: Answer
    ) -> HttpResponse:
        if answer.code:
            return responses.failure_response(
                Failure(code=ErrorCode(answer.code), message=answer.error),
                dialect=self._dialect,
                operation=Operation.INFER,
            )
        encoded = self.encode(answer, request, routed, answer.parameters_json)
        events = self._events.of_answer(model_name=routed.model.name, answer_id=request.id)
        headers: list[Header] = http_fields(answer.headers, events)
        if encoded.blobs:
            headers.append((HEADER_NAME.encode(), str(len(encoded.json_text)).encode()))
        body = self._compressed(http, [encoded.json_text, *encoded.blobs], headers)
        return HttpResponse(
            status=HTTPStatus.OK,
            content_type=responses.OCTETS if encoded.blobs else responses.JSON,
            body=tuple(body),
            headers=tuple(headers),
        )

    def _compressed(
        self, http: HttpRequest, body: list[Bytes], headers: list[Header]
    ) -> list[Bytes]:
        if not self._compresses:
            return body
        encoding = accepted_encoding(http.header(b"accept-encoding"))
        size = sum(len(piece) for piece in body)
        if encoding is ContentEncoding.IDENTITY or size < self._dialect.compresses_from_bytes:
            return body
        headers.append((b"Content-Encoding", encoding.value.encode()))
        return deflate(body, encoding)
