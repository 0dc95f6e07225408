"""One inference: find the model, check the request, submit it, hand the answer on."""

import asyncio
import uuid
from collections.abc import Callable
from typing import cast

import msgspec

from mpserve.dialect import Dialect
from mpserve.dispatch.ensemble import Ensembles
from mpserve.dispatch.ensemble_answer import OnAnswer
from mpserve.dispatch.members import Member
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.routing_table import RoutedModel, RoutingTable
from mpserve.dispatch.submission import submit
from mpserve.dispatch.validation import validate
from mpserve.errors import Unsupported
from mpserve.model.request import InferRequest
from mpserve.shm.dispatcher import Answer, Dispatcher


class InferHandler:
    """Inference for all wires of a frontend."""

    def __init__(
        self, *, table: RoutingTable, routes: Routes, dispatcher: Dispatcher, dialect: Dialect
    ) -> None:
        self._table = table
        self._routes = routes
        self._dispatcher = dispatcher
        self._dialect = dialect
        self._ensembles = Ensembles(
            table=table,
            routes=routes,
            dispatcher=dispatcher,
            submit_plain=self._submit_step,
            cancel_plain=dispatcher.cancel,
            call_soon=_call_soon,
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

    def identified(self, request: InferRequest) -> InferRequest:
        """Return the request with an id where the dialect makes one up."""
        if request.id or not self._dialect.makes_request_ids:
            return request
        return msgspec.structs.replace(request, id=str(uuid.uuid4()))

    def start(
        self,
        request: InferRequest,
        *,
        routed: RoutedModel,
        on_answer: Callable[[Answer], None],
    ) -> int:
        """Check and submit a request; return its token for `cancel`.

        Call it in the loop's turn in which `find` was called: a table may retire the queue after.

        Raises
        ------
        InvalidRequest
            It does not fit the model's signature.
        QueueFull, ArenaFull, ModelNotReady
            Refused now; may pass later.
        """
        name, version = routed.model.name, routed.version
        validate(request, signature=version.config.signature, model_name=name)
        if version.config.ensemble is not None:
            # What it answers has the attributes of an `Answer`.
            told = cast("OnAnswer", on_answer)
            return self._ensembles.start(request, routed=routed, on_answer=told)
        route = self._routes.route(name, version.version)
        return submit(request, dispatcher=self._dispatcher, route=route, on_answer=on_answer)

    def _submit_step(self, member: Member, request: InferRequest, on_answer: OnAnswer) -> int:
        return submit(request, dispatcher=self._dispatcher, route=member.route, on_answer=on_answer)

    def cancel(self, token: int) -> None:
        """Drop the answer of a request; take it back when it still waits."""
        self._ensembles.cancel(token)


def _call_soon(callback: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_soon(callback)
