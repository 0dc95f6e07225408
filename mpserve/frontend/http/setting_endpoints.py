"""Endpoints of the trace and logging extensions. Source: triton.md 3.11, 3.12."""

from functools import partial

from mpserve.codec import setting_json
from mpserve.dialect import Dialect, Operation
from mpserve.errors import Failure
from mpserve.frontend.handlers.metadata import MetadataHandler
from mpserve.frontend.handlers.repository import RepositoryCalls
from mpserve.frontend.http import responses
from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.responses import Exchange
from mpserve.frontend.http.routes import Match
from mpserve.model.log_switches import LogChange, LogSwitches
from mpserve.model.trace_setting import ToldTrace, TraceChange


class SettingEndpoints:
    """Asks the supervisor, which owns what they tell and change."""

    def __init__(
        self, *, dialect: Dialect, metadata: MetadataHandler, calls: RepositoryCalls
    ) -> None:
        self._dialect = dialect
        self._metadata = metadata
        self._calls = calls

    def logging(self, exchange: Exchange, http: HttpRequest, _: Match) -> None:
        """Answer with what the log writes, after a change when it is a POST."""
        changes = exchange.method == "POST"
        change = setting_json.read_log_change(http.body()) if changes else LogChange()
        self._calls.logging(partial(self._send_switches, exchange), change=change)

    def trace(self, exchange: Exchange, http: HttpRequest, match: Match) -> None:
        """Answer with a trace setting, after a change when it is a POST."""
        if match.model:
            self._metadata.check_known(match.model)
        changes = exchange.method == "POST"
        change = setting_json.read_trace_change(http.body()) if changes else TraceChange()
        self._calls.trace(partial(self._send_setting, exchange), model=match.model, change=change)

    def _send_switches(self, exchange: Exchange, result: Failure | LogSwitches) -> None:
        if isinstance(result, Failure):
            self._refuse(exchange, result, Operation.LOGGING)
        else:
            responses.send(exchange, responses.json_response(setting_json.log_body(result)))

    def _send_setting(self, exchange: Exchange, result: Failure | ToldTrace) -> None:
        if isinstance(result, Failure):
            self._refuse(exchange, result, Operation.TRACE)
        else:
            responses.send(exchange, responses.json_response(setting_json.trace_body(result)))

    def _refuse(self, exchange: Exchange, failure: Failure, operation: Operation) -> None:
        responses.send(
            exchange,
            responses.failure_response(failure, dialect=self._dialect, operation=operation),
        )
