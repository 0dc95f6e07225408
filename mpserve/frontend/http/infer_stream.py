"""`POST …/infer_stream` and `…/generate_stream` (MLServer): an inference, answered by events.

Source: mlserver-observed.md, "Inference".
"""

from functools import partial

from msgspec.structs import replace

from mpserve.codec.cloud_events import Events, with_headers
from mpserve.dialect import Dialect, Operation
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import Failure, InvalidRequest
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.http import responses
from mpserve.frontend.http.answer_stream import EventStream, StreamingExchange
from mpserve.frontend.http.arrival import http_arrival
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.infer import HttpInfer
from mpserve.frontend.http.responses import HttpResponse
from mpserve.model.request import InferRequest
from mpserve.shm.dispatcher import Answer


class HttpInferStream:
    """The endpoint. Errors before the request is queued are raised.

    Parameters
    ----------
    infer
        Reads requests and writes answers as the endpoint for one answer does.
    """

    def __init__(
        self, *, handler: InferHandler, infer: HttpInfer, events: Events, dialect: Dialect
    ) -> None:
        self._handler = handler
        self._infer = infer
        self._events = events
        self._dialect = dialect

    def answer(
        self, exchange: StreamingExchange, http: HttpRequest, name: str, version: str
    ) -> None:
        """Answer with an event for each response of the model."""
        routed = self._handler.find(name, version, decoupled_refusal=None)
        request = replace(self._infer.read(exchange, http, routed), takes_many=True)
        routed = self._handler.follow(request, routed)
        if request.binary_by_default or any(output.binary for output in request.outputs):
            raise InvalidRequest("binary outputs can not be sent as events; ask for JSON outputs")
        stream = EventStream(
            exchange, encode=partial(self._encode, request, routed), refuse=self._refuse
        )
        token = self._handler.start(
            request,
            routed=routed,
            on_answer=stream.on_answer,
            arrival=partial(http_arrival, exchange),
        )
        stream.attach(partial(self._handler.cancel, token))

    def _encode(self, request: InferRequest, routed: RoutedModel, answer: Answer) -> bytes:
        events = self._events.of_answer(model_name=routed.model.name, answer_id=request.id)
        parameters_json = with_headers(answer.parameters_json, answer.headers, events)
        return self._infer.encode(answer, request, routed, parameters_json).json_text

    def _refuse(self, failure: Failure) -> HttpResponse:
        return responses.failure_response(failure, dialect=self._dialect, operation=Operation.INFER)
