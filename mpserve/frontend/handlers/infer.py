"""One inference: find the model, check the request, submit it, hand the answer on."""

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from mpserve.dialect import Dialect
from mpserve.dispatch.ensemble import Ensembles
from mpserve.dispatch.ensemble_answer import OnAnswer
from mpserve.dispatch.members import Member
from mpserve.dispatch.region_answer import into_regions
from mpserve.dispatch.regions import Regions
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutedModel, RoutingTable
from mpserve.dispatch.submission import submit, submit_input
from mpserve.dispatch.tracer import Tracer
from mpserve.dispatch.validation import validate
from mpserve.errors import Unsupported
from mpserve.model.arrival import Arrival
from mpserve.model.request import InferRequest
from mpserve.shm.client_region import RegionHold
from mpserve.shm.dispatcher import Answer, Dispatcher


class InferHandler:
    """Inference for all wires of a frontend."""

    def __init__(
        self,
        *,
        table: RoutingTable,
        routes: Routes,
        dispatcher: Dispatcher,
        regions: Regions,
        dialect: Dialect,
        tracer: Tracer,
    ) -> None:
        self._table = table
        self._routes = routes
        self._dispatcher = dispatcher
        self._regions = regions
        self._dialect = dialect
        self._tracer = tracer
        self._ensembles = Ensembles(
            table=table,
            routes=routes,
            dispatcher=dispatcher,
            submit_plain=self._submit_step,
            cancel_plain=dispatcher.cancel,
            call_soon=_call_soon,
            tracer=tracer,
        )

    def find(self, name: str, version: str, *, decoupled_refusal: str | None) -> RoutedModel:
        """Return the version that would answer.

        Parameters
        ----------
        version
            "" for the default version.
        decoupled_refusal
            Said of a model that may answer several times; `None`: it may.

        Raises
        ------
        ModelNotFound, ModelNotReady
            As the routing table has it.
        Unsupported
            The model may answer several times, which the wire can not carry.
        """
        routed = self._table.ready(name, version)
        if routed.version.config.decoupled and decoupled_refusal is not None:
            raise Unsupported(decoupled_refusal)
        return routed

    @property
    def table(self) -> RoutingTable:
        """Return what is routed where."""
        return self._table

    def identified(self, request: InferRequest) -> InferRequest:
        """Return the request with an id where the dialect makes one up."""
        if request.id or not self._dialect.makes_request_ids:
            return request
        return msgspec.structs.replace(request, id=str(uuid.uuid4()))

    def follow(self, request: InferRequest, routed: RoutedModel) -> RoutedModel:
        """Return who answers a request: `routed`, or who holds the sequence that it goes on with.

        Raises
        ------
        ModelNotReady
            As the routing table has it.
        """
        mark = request.sequence
        if mark.starts or not (mark.number or mark.text):
            return routed
        own = self._routes.route(routed.model.name, routed.version.version)
        other = self._routes.follow(own, mark, any_version=routed.is_default)
        return routed if other is None else msgspec.structs.replace(routed, version=other.entry)

    def start(
        self,
        request: InferRequest,
        *,
        routed: RoutedModel,
        on_answer: Callable[[Answer], None],
        arrival: Callable[[], Arrival],
    ) -> int:
        """Check and submit a request; return its token for `cancel`.

        Call it in the loop's turn in which `find` was called: a table may retire the queue after.
        `routed` is what `follow` has returned.

        Parameters
        ----------
        arrival
            Asked when the request may be traced.

        Raises
        ------
        InvalidRequest
            It does not fit the model's signature, or the memory it names.
        Unsupported, ModelNotFound
            It names shared memory that clients may not register, or did not.
        QueueFull, ArenaFull, ModelNotReady
            Refused now; may pass later.
        """
        name, version = routed.model.name, routed.version
        arrived = self._tracer.arrive(name, arrival)
        if arrived is not None:
            told = cast("OnAnswer", on_answer)
            request, told = self._tracer.follow(
                request, arrived.told(told), name=name, version=version.version, arrived=arrived
            )
            on_answer = cast("Callable[[Answer], None]", told)
        if request.regions:
            return self._start_with_regions(request, routed, on_answer)
        return self._start(request, routed, on_answer)

    def send_input(self, token: int, request: InferRequest, *, routed: RoutedModel) -> bool:
        """Check a further request of a stream that wants one, and send it.

        Returns
        -------
        bool
            False when the stream has ended.

        Raises
        ------
        InvalidRequest
            It does not fit the model's signature.
        ArenaFull
            Refused now.
        """
        name, version = routed.model.name, routed.version
        validate(request, signature=version.config.signature, model_name=name)
        route = self._routes.route_to(name, version)
        return submit_input(request, dispatcher=self._dispatcher, route=route, token=token)

    def end_inputs(self, token: int) -> None:
        """Tell a stream that wants a request that there is none any more."""
        self._dispatcher.end_inputs(token)

    def cancel(self, token: int) -> None:
        """Drop the answer of a request; take it back when it still waits."""
        self._ensembles.cancel(token)

    def _start_with_regions(
        self, request: InferRequest, routed: RoutedModel, on_answer: Callable[[Answer], None]
    ) -> int:
        # Until the next turn of the loop nobody withdraws what is found here.
        hold = self._regions.hold(request)
        is_divided = routed.version.config.ensemble is not None
        request = self._regions.with_copies(request, of_all=is_divided)
        if is_divided:
            # A plain request's are held by the dispatcher.
            on_answer = partial(_tell_held, hold, on_answer)
            told = into_regions(request, self._regions, cast("OnAnswer", on_answer))
            on_answer = cast("Callable[[Answer], None]", told)
        return self._start(request, routed, on_answer)

    def _start(
        self, request: InferRequest, routed: RoutedModel, on_answer: Callable[[Answer], None]
    ) -> int:
        name, version = routed.model.name, routed.version
        if not request.is_handler_call:
            validate(request, signature=version.config.signature, model_name=name)
        if version.config.ensemble is not None:
            # What it answers has the attributes of an `Answer`.
            told = cast("OnAnswer", on_answer)
            return self._ensembles.start(request, routed=routed, on_answer=told)
        return submit(
            request,
            dispatcher=self._dispatcher,
            route=self._routes.route_to(name, version),
            on_answer=on_answer,
            place=self._regions.place,
        )

    def _submit_step(self, member: Member, request: InferRequest, on_answer: OnAnswer) -> int:
        other = self._routes.follow(member.route, request.sequence, any_version=member.is_default)
        route = member.route if other is None else other.route
        return submit(request, dispatcher=self._dispatcher, route=route, on_answer=on_answer)


def _call_soon(callback: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_soon(callback)


def _tell_held(_: RegionHold, on_answer: Callable[[Answer], None], answer: Answer) -> None:
    """Hand an answer on; whoever will be told holds the regions."""
    on_answer(answer)
