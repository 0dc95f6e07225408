"""`POST …/generate` and `…/generate_stream` (Triton): flat JSON in, one object or events out.

Source: triton.md 3.9.
"""

from functools import partial
from typing import Final

from msgspec.structs import replace

from mpserve.codec import generate_json
from mpserve.codec.v2_json import RequestContext
from mpserve.codec.v2_response import AnswerContext
from mpserve.dialect import Dialect, Operation
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import Failure, InvalidRequest
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.http import responses
from mpserve.frontend.http.answer_stream import EventStream, OnlyAnswer, StreamingExchange
from mpserve.frontend.http.arrival import http_arrival
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.responses import HttpResponse
from mpserve.model.request import InferRequest
from mpserve.shm.dispatcher import Answer

_NOT_PLAIN: Final = "Unsupported content-encoding, only 'identity' is supported."


class HttpGenerate:
    """The two endpoints. Errors before the request is queued are raised."""

    def __init__(
        self,
        *,
        handler: InferHandler,
        forwarding: HeaderForwarding,
        dialect: Dialect,
        max_input_bytes: int,
    ) -> None:
        self._handler = handler
        self._forwarding = forwarding
        self._dialect = dialect
        self._max_input_bytes = max_input_bytes

    def answer(
        self, exchange: StreamingExchange, http: HttpRequest, name: str, version: str
    ) -> None:
        """Answer with the one response that the model must give."""
        self._start(exchange, http, name, version, OnlyAnswer)

    def stream(
        self, exchange: StreamingExchange, http: HttpRequest, name: str, version: str
    ) -> None:
        """Answer with an event for each response of the model."""
        self._start(exchange, http, name, version, EventStream)

    def _start(
        self,
        exchange: StreamingExchange,
        http: HttpRequest,
        name: str,
        version: str,
        kind: type[OnlyAnswer] | type[EventStream],
    ) -> None:
        routed = self._handler.find(name, version, decoupled_refusal=None)
        request = self._forwarding.apply(self._read(http, routed), exchange.headers_as_sent)
        request = self._forwarding.carry(request, reversed(exchange.headers), routed.version.config)
        request = replace(request, takes_many=kind is EventStream)
        routed = self._handler.follow(request, routed)
        answers = kind(exchange, encode=partial(self._encode, request, routed), refuse=self._refuse)
        token = self._handler.start(
            request,
            routed=routed,
            on_answer=answers.on_answer,
            arrival=partial(http_arrival, exchange),
        )
        answers.attach(partial(self._handler.cancel, token))

    def _read(self, http: HttpRequest, routed: RoutedModel) -> InferRequest:
        if (http.header(b"content-encoding") or "identity").strip().lower() != "identity":
            raise InvalidRequest(_NOT_PLAIN)
        context = RequestContext(
            model_name=routed.model.name,
            signature=routed.version.config.signature,
            max_input_bytes=self._max_input_bytes,
        )
        return self._handler.identified(generate_json.decode(http.body(), context=context))

    def _encode(self, request: InferRequest, routed: RoutedModel, answer: Answer) -> bytes:
        return generate_json.answer_text(
            answer.outputs,
            request=request,
            parameters_json=answer.parameters_json,
            context=AnswerContext(
                dialect=self._dialect,
                model_name=routed.model.name,
                model_version=routed.version.version,
            ),
        )

    def _refuse(self, failure: Failure) -> HttpResponse:
        return responses.failure_response(
            failure, dialect=self._dialect, operation=Operation.GENERATE_ANSWER
        )
