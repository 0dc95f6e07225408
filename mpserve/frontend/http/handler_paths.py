"""Paths of models' own: MLServer's `custom_handler`.

A path that the protocol has goes first; among models, the first by name.
Source: MLServer 1.7.1 as seen running (FastAPI's paths).
"""

import re
from functools import partial
from http import HTTPStatus
from urllib.parse import unquote

import msgspec

from mpserve.codec.handler_call import HandlerCall, read_answer, to_request
from mpserve.dialect import Dialect, Operation, TransportFault
from mpserve.dispatch.routing_table import RoutedModel
from mpserve.errors import ErrorCode, Failure, MpserveError
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.http import responses
from mpserve.frontend.http.answer_stream import StreamingExchange
from mpserve.frontend.http.arrival import http_arrival
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.responses import HttpResponse
from mpserve.frontend.http.routes import ROUTES
from mpserve.shm.dispatcher import Answer
from mpserve.telemetry import log

_PART = re.compile(r"\{(\w+)(:path)?\}")


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    pattern: re.Pattern[str]
    method: str
    route: str
    routed: RoutedModel


class HandlerPaths:
    """Finds and answers them.

    Parameters
    ----------
    root_path
        What stands before the server's paths where clients see them, "" for nothing.
    """

    def __init__(self, *, handler: InferHandler, dialect: Dialect, root_path: str) -> None:
        self._root_path = root_path
        self._table = handler.table
        self._handler = handler
        self._dialect = dialect
        self._changes = -1  # of the table, when the rows were made
        self._rows: tuple[_Row, ...] = ()

    def answer(
        self, exchange: StreamingExchange, http: HttpRequest, name: str, version: str
    ) -> None:
        """Answer a request whose path the protocol does not have; no model's path has a name."""
        del name, version
        response = self._start_or_refuse(exchange, http)
        if response is not None:
            responses.send(exchange, response)

    def _start_or_refuse(
        self, exchange: StreamingExchange, http: HttpRequest
    ) -> HttpResponse | None:
        path, _, query = exchange.target.decode("latin-1").partition("?")
        found = [(row, match) for row in self._known() if (match := row.pattern.fullmatch(path))]
        if not found:
            return self._elsewhere(exchange.target) or responses.fault_response(
                TransportFault.UNKNOWN_PATH, "Not Found", dialect=self._dialect
            )
        for row, match in found:
            if row.method == exchange.method:
                parts = {name: unquote(part) for name, part in match.groupdict().items()}
                self._start(exchange, http, row, path=path, query=query, parts=parts)
                return None
        allowed = ", ".join(row.method for row, _ in found)
        return responses.fault_response(
            TransportFault.WRONG_METHOD,
            "Method Not Allowed",
            dialect=self._dialect,
            headers=((b"Allow", allowed.encode()),),
        )

    def _elsewhere(self, target: bytes) -> HttpResponse | None:
        """Send a client on that has a slash too many or too few at the end of a path."""
        path, mark, query = target.partition(b"?")
        other = path.rstrip(b"/") if path.endswith(b"/") else path + b"/"
        if not self._dialect.redirects_slashes or not self._is_known(other):
            return None
        place = self._root_path.encode() + other + mark + query
        return HttpResponse(
            status=HTTPStatus.TEMPORARY_REDIRECT, content_type="", headers=((b"Location", place),)
        )

    def _is_known(self, path: bytes) -> bool:
        text = path.decode("latin-1")
        return ROUTES[self._dialect.name].match(path) is not None or any(
            row.pattern.fullmatch(text) for row in self._known()
        )

    def _known(self) -> tuple[_Row, ...]:
        if self._changes != self._table.changes:
            self._changes = self._table.changes
            self._rows = tuple(
                _Row(
                    pattern=path_pattern(handler.path),
                    method=handler.method,
                    route=handler.path,
                    routed=routed,
                )
                for routed in self._table.ready_models()
                for handler in routed.version.config.handlers
            )
        return self._rows

    def _start(
        self,
        exchange: StreamingExchange,
        http: HttpRequest,
        row: _Row,
        *,
        path: str,
        query: str,
        parts: dict[str, str],
    ) -> None:
        exchange.count_at(row.route)
        call = HandlerCall(
            method=row.method,
            route=row.route,
            path=path,
            query=query,
            parts=parts,
            headers=tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in exchange.headers
            ),
        )
        request = self._handler.identified(to_request(call, http.body()))
        token = self._handler.start(
            request,
            routed=row.routed,
            on_answer=partial(self._on_answer, exchange),
            arrival=partial(http_arrival, exchange),
        )
        exchange.on_client_gone(partial(self._handler.cancel, token))

    def _on_answer(self, exchange: StreamingExchange, answer: Answer) -> None:
        """Write the answer. Called by the dispatcher, so nothing may escape."""
        try:
            response = self._response(answer)
        except MpserveError as error:
            response = responses.error_response(
                error, dialect=self._dialect, operation=Operation.INFER_ANSWER
            )
        except Exception as error:  # noqa: BLE001  the border: logged and told
            log.error("request.crashed", request_id=answer.request_id, error=repr(error))
            response = self._refused(
                Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}")
            )
        responses.send(exchange, response)

    def _response(self, answer: Answer) -> HttpResponse:
        if answer.code:
            return self._refused(Failure(code=ErrorCode(answer.code), message=answer.error))
        told = read_answer(answer.parameters_json)
        return HttpResponse(
            status=told.status,
            content_type=told.content_type,
            body=(answer.outputs[0].data,),
            headers=tuple(
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in told.headers
            ),
        )

    def _refused(self, failure: Failure) -> HttpResponse:
        return responses.failure_response(failure, dialect=self._dialect, operation=Operation.INFER)


def path_pattern(path: str) -> re.Pattern[str]:
    """Return what the paths of a route look like, its parts as groups."""
    pieces = []
    end = 0
    for part in _PART.finditer(path):
        size = ".*" if part[2] else "[^/]+"
        pieces += [re.escape(path[end : part.start()]), f"(?P<{part[1]}>{size})"]
        end = part.end()
    return re.compile("".join((*pieces, re.escape(path[end:]))))
