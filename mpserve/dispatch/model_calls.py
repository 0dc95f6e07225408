"""Requests that a worker sends to models (BLS), by its own copy of the routing table.

Guarantees
    A request whose queue was retired between the look at the table and the push goes to the next
    generation, so a reload costs it nothing. Each request is answered exactly once, or cancelled.
Assumes
    One thread at a time: the owner has a lock.
Owner
    The worker that calls.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final, TypeAlias

import msgspec

from mpserve.control.messages import PublishTable
from mpserve.dialect import DIALECTS, DialectName
from mpserve.dispatch.deadlock import (
    CallStanding,
    Circle,
    InstanceStanding,
    Place,
    find_circle,
)
from mpserve.dispatch.ensemble import Ensembles
from mpserve.dispatch.ensemble_answer import AnyAnswer, EnsembleAnswer, OnAnswer
from mpserve.dispatch.members import Member
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutedModel, RoutingTable
from mpserve.dispatch.submission import submit
from mpserve.dispatch.tracer import Tracer
from mpserve.dispatch.validation import validate
from mpserve.errors import ErrorCode, Failure, ModelNotFound, ModelNotReady, MpserveError
from mpserve.model.request import InferRequest
from mpserve.model.state import ModelState
from mpserve.shm.dispatcher import Dispatcher
from mpserve.shm.model_queue import ModelQueue
from mpserve.telemetry import log

CIRCLE: Final = (
    "the request can not be answered: each instance of model '{name}' waits, itself or by way of"
    " other models, for an answer of its own model; give the models more instances, or let them not"
    " call each other in a circle"
)
TABLE_SECONDS: Final = 5.0
"""How long a request whose queue was retired waits for the table that says what comes next; it is
sent before a queue is retired."""

_NS_PER_SECOND: Final = 1_000_000_000

CallNumber: TypeAlias = int


class _Call(msgspec.Struct, kw_only=True):
    """A request to one model, no ensemble."""

    number: CallNumber
    name: str
    version: str
    is_default: bool
    request: InferRequest
    on_answer: OnAnswer
    generation: int
    waits_from_ns: int
    token: int = -1
    give_up_ns: int = 0


class OwnPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The instance that calls.

    Attributes
    ----------
    queue, instance_slot
        Where it takes requests itself.
    caller
        Process index under which it sends requests.
    first_caller_ring
        Rings from this index on are those of workers.
    """

    queue: ModelQueue
    instance_slot: int
    caller: int
    first_caller_ring: int


class ModelCalls:
    """Starts, re-routes and cancels the requests of one worker.

    Parameters
    ----------
    call_soon
        Calls back after what runs now, under the same lock.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        own: OwnPlace,
        call_soon: Callable[[Callable[[], None]], object],
        now_ns: Callable[[], int],
        tracer: Tracer,
    ) -> None:
        self._tracer = tracer
        self._dispatcher = dispatcher
        self._own = own
        self._place = Place(own.queue.generation(), own.instance_slot)
        self._seen: Circle | None = None
        self._waits_from_ns = 0
        self._call_soon = call_soon
        self._now_ns = now_ns
        self._table = RoutingTable(DIALECTS[DialectName.TRITON].phrases)
        self._routes = Routes(dispatcher)
        self._ensembles = Ensembles(
            table=self._table,
            routes=self._routes,
            dispatcher=dispatcher,
            submit_plain=self._submit_step,
            cancel_plain=self._cancel_plain,
            call_soon=call_soon,
            tracer=tracer,
        )
        self._numbers = count()
        self._calls: dict[CallNumber, _Call] = {}
        self._homeless: dict[CallNumber, _Call] = {}  # their queue was retired

    def apply(self, table: PublishTable) -> None:
        """Take a change of the supervisor's table."""
        self._table.apply(removed=table.removed, changed=table.changed)
        self._routes.apply(removed=table.removed, changed=table.changed)
        for call in list(self._homeless.values()):
            self._find_home(call)

    def is_ready(self, name: str, version: str) -> bool:
        """Tell whether a model takes requests; `version` is "" for the default."""
        try:
            found = self._table.ready(name, version).version
        except (ModelNotFound, ModelNotReady):
            return False
        return found.state is ModelState.READY and not found.complaint

    def find(self, name: str, version: str) -> RoutedModel:
        """Return the version that would answer.

        Raises
        ------
        ModelNotFound, ModelNotReady
            As the routing table has it.
        """
        return self._table.ready(name, version)

    def start(
        self,
        request: InferRequest,
        *,
        routed: RoutedModel,
        on_answer: OnAnswer,
        waits_from_ns: int,
    ) -> int:
        """Check and submit a request; return its number for `cancel`.

        `on_answer` is never called from here.

        Parameters
        ----------
        waits_from_ns
            From when on the instance may be taken to do nothing but wait for the answer.

        Raises
        ------
        MpserveError
            It does not fit the model, or is refused now.
        """
        name, version = routed.model.name, routed.version
        validate(request, signature=version.config.signature, model_name=name)
        self._waits_from_ns = waits_from_ns
        request, on_answer = self._tracer.follow(
            request, on_answer, name=name, version=version.version
        )
        if version.config.ensemble is not None:
            return self._ensembles.start(request, routed=routed, on_answer=on_answer)
        return self._start_plain(
            name, version.version, request, on_answer, is_default=routed.is_default
        )

    def cancel(self, number: int) -> None:
        """Take a request back; nobody is told of its answers any more."""
        self._ensembles.cancel(number)

    def break_circle(self) -> None:
        """Refuse what waits in vain, because instances wait for each other; from time to time."""
        now_ns = self._now_ns()
        if all(call.waits_from_ns > now_ns for call in self._calls.values()):
            self._seen = None
            return
        circle = self._find_circle(now_ns)
        is_member = any(one.place == self._place for one in circle.instances)
        before, self._seen = self._seen, circle if is_member else None
        victim = circle.victim
        if self._seen is None or circle != before or victim is None:
            return
        if victim.place == self._place:
            tokens = {
                call.token
                for call in circle.calls
                if call.caller == self._own.caller and call.is_waiting
            }
            for call in [one for one in self._calls.values() if one.token in tokens]:
                log.warning("circle.broken", model=call.name, request_id=call.request.id or "")
                self._dispatcher.cancel(call.token)
                message = CIRCLE.format(name=call.name)
                self._refuse(call, Failure(code=ErrorCode.UNAVAILABLE, message=message))

    def upkeep(self) -> None:
        """Give back what is not used any more, and refuse what waited too long for a table."""
        now_ns = self._now_ns()
        for call in list(self._homeless.values()):
            if now_ns > call.give_up_ns:
                self._refuse(call, _not_ready(call))
        self._routes.close_retired()
        self._dispatcher.trim()

    # --- circles ----------------------------------------------------------------------------------

    def _tell(self) -> None:
        waits = [call.waits_from_ns for call in self._calls.values()]
        self._own.queue.tell_sent(
            self._own.instance_slot,
            caller=self._own.caller,
            requests=len(waits),
            waits_from_ns=min(waits, default=0),
        )

    def _find_circle(self, now_ns: int) -> Circle:
        instances: list[InstanceStanding] = []
        calls: list[CallStanding] = []
        for queue in self._routes.queues():
            if not (queue.running() or queue.depth()):
                continue
            generation = queue.generation()
            rows, sent = queue.look(first_caller_ring=self._own.first_caller_ring)
            instances += [
                InstanceStanding(Place(generation, slot), active, busy, caller, count, changes, ns)
                for slot, active, busy, caller, count, changes, ns in rows
            ]
            calls += [CallStanding(generation, *row) for row in sent]
        return find_circle(instances, calls, now_ns=now_ns)

    # --- plain requests ---------------------------------------------------------------------------

    def _submit_step(self, member: Member, request: InferRequest, on_answer: OnAnswer) -> int:
        return self._start_plain(
            member.name, member.version, request, on_answer, is_default=member.is_default
        )

    def _start_plain(
        self,
        name: str,
        version: str,
        request: InferRequest,
        on_answer: OnAnswer,
        *,
        is_default: bool,
    ) -> CallNumber:
        call = _Call(
            number=next(self._numbers),
            name=name,
            version=version,
            is_default=is_default,
            request=request,
            on_answer=on_answer,
            generation=0,
            waits_from_ns=self._waits_from_ns,
        )
        self._submit(call)
        self._calls[call.number] = call
        self._tell()
        return call.number

    def _submit(self, call: _Call) -> None:
        route = self._routes.route(call.name, call.version)
        other = self._routes.follow(route, call.request.sequence, any_version=call.is_default)
        if other is not None:
            route = other.route
        call.generation = route.generation
        call.token = submit(
            call.request,
            dispatcher=self._dispatcher,
            route=route,
            on_answer=partial(self._on_answer, call),
        )

    def _on_answer(self, call: _Call, answer: AnyAnswer) -> None:
        if answer.code == ErrorCode.NOT_READY and answer.final:
            call.give_up_ns = self._now_ns() + int(TABLE_SECONDS * _NS_PER_SECOND)
            self._homeless[call.number] = call
            self._find_home(call)
            return
        if answer.final:
            self._forget(call)
        call.on_answer(answer)

    def _find_home(self, call: _Call) -> None:
        """Submit again when the table names another generation; refuse when it names none."""
        try:
            if self._routes.route(call.name, call.version).generation == call.generation:
                return  # the table on its way will tell
            del self._homeless[call.number]
            self._submit(call)
        except ModelNotReady:
            self._refuse(call, _not_ready(call))
        except MpserveError as error:
            self._refuse(call, error.failure())

    def _refuse(self, call: _Call, failure: Failure) -> None:
        self._forget(call)
        answer = EnsembleAnswer(
            model_name=call.name,
            model_version=call.version,
            request_id=call.request.id or "",
            code=int(failure.code),
            error=failure.message,
        )
        self._call_soon(partial(call.on_answer, answer))

    def _forget(self, call: _Call) -> None:
        self._calls.pop(call.number, None)
        self._tell()
        self._homeless.pop(call.number, None)

    def _cancel_plain(self, number: CallNumber) -> None:
        call = self._calls.get(number)
        if call is not None:
            self._forget(call)
            self._dispatcher.cancel(call.token)


def _not_ready(call: _Call) -> Failure:
    return Failure(
        code=ErrorCode.NOT_READY,
        message=f"Model '{call.name}' was unloaded before the request was executed",
    )
