"""All requests of ensembles that a frontend runs, or a worker that calls models.

Owner: whoever owns the dispatcher; everything happens where its answers are taken.
"""

from collections.abc import Callable
from functools import partial
from itertools import count

from mpserve.dispatch.ensemble_answer import OnAnswer
from mpserve.dispatch.ensemble_run import EnsembleRun
from mpserve.dispatch.members import Member, Members
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutedModel, RoutingTable
from mpserve.dispatch.tracer import Tracer
from mpserve.dispatch.validation import validate
from mpserve.errors import ErrorCode
from mpserve.model.request import InferRequest
from mpserve.shm.dispatcher import Dispatcher


class Ensembles:
    """Starts, cancels and counts the requests of ensembles.

    Parameters
    ----------
    submit_plain
        Sends a request that fits its model, which is no ensemble; returns its token, which is not
        negative. Raises as `start`.
    call_soon
        Calls back after what runs now.
    """

    def __init__(
        self,
        *,
        table: RoutingTable,
        routes: Routes,
        dispatcher: Dispatcher,
        submit_plain: Callable[[Member, InferRequest, OnAnswer], int],
        cancel_plain: Callable[[int], None],
        call_soon: Callable[[Callable[[], None]], object],
        tracer: Tracer,
    ) -> None:
        self._members = Members(table=table, routes=routes)
        self._routes = routes
        self._dispatcher = dispatcher
        self._submit_plain = submit_plain
        self._tracer = tracer
        self._cancel_plain = cancel_plain
        self._call_soon = call_soon
        self._runs: dict[int, EnsembleRun] = {}
        self._tokens = count(-1, -1)  # those of plain requests are not negative

    def start(self, request: InferRequest, *, routed: RoutedModel, on_answer: OnAnswer) -> int:
        """Start a request that `validation.validate` has passed; return its token for `cancel`.

        `on_answer` is never called from here.

        Raises
        ------
        MpserveError
            A step could not begin.
        """
        return self._run(self._members.find(routed), request, on_answer)

    def submit(self, member: Member, request: InferRequest, on_answer: OnAnswer) -> int:
        """Send the request of a step to its model; return its token. Raises as `start`."""
        validate(request, signature=member.config.signature, model_name=member.name)
        request, on_answer = self._tracer.follow(
            request, on_answer, name=member.name, version=member.version
        )
        if member.is_ensemble:
            return self._run(member, request, on_answer)
        return self._submit_plain(member, request, on_answer)

    def cancel(self, token: int) -> None:
        """Take a request back: of a model, or of an ensemble with all its steps."""
        if token >= 0:
            self._cancel_plain(token)
            return
        run = self._runs.get(token)
        if run is not None:
            run.cancel()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back after what runs now."""
        self._call_soon(callback)

    def _run(self, member: Member, request: InferRequest, on_answer: OnAnswer) -> int:
        token = next(self._tokens)
        self._routes.hold(member.generations)
        run = EnsembleRun(
            member,
            request,
            steps=self,
            on_answer=on_answer,
            on_first=partial(self._dispatcher.count_first_response, member.route),
            on_end=partial(self._end, token),
        )
        self._runs[token] = run
        run.begin()
        return token

    def _end(self, token: int, code: ErrorCode, taken_ns: int) -> None:
        run = self._runs.pop(token)
        self._dispatcher.count(run.member.route, int(code), taken_ns, run.rows)
        self._routes.release(run.member.generations)
