"""Load, unload and index calls of clients, in the words of the dialect.

Guarantees
    Calls for one model are carried out one after another, in the order in which they came; each
    gets the answer to its own wish. Calls for different models do not wait for each other.
Source
    Triton: explicit model control, its index and their messages; MLServer: its repository API.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, assert_never

from mpserve.control.messages import (
    CallDone,
    EventsCall,
    EventsReply,
    IndexCall,
    IndexReply,
    LoadCall,
    UnloadCall,
)
from mpserve.dialect import DIALECTS, Dialect
from mpserve.errors import (
    ControlRefused,
    ErrorCode,
    Failure,
    ModelNotFound,
    MpserveError,
    ShuttingDown,
)
from mpserve.lifecycle.actual import shown_versions
from mpserve.lifecycle.graph import unneeded_with
from mpserve.lifecycle.index import index_rows
from mpserve.lifecycle.reasons import UNLOADED
from mpserve.model.event import Origin
from mpserve.model.identity import ModelName, model_name
from mpserve.model.state import IndexRow, ModelState
from mpserve.repository import Listing, Override
from mpserve.settings import ModelControlMode, Settings
from mpserve.supervisor.loads import Loads
from mpserve.supervisor.repository_view import RepositoryView
from mpserve.supervisor.supervisor import Supervisor, is_gone
from mpserve.supervisor.turns import Turns
from mpserve.telemetry import log

UNLOAD_SECONDS: Final = 0.5
"""How long an unload call waits for the workers to end. Without requests in flight that takes some
milliseconds, and who asks for the index next sees `UNAVAILABLE`; with them it is not waited for."""

DUPLICATE_REASON: Final = "model appears in two or more repositories"

Call = LoadCall | UnloadCall | IndexCall | EventsCall
Reply = Callable[[CallDone | IndexReply | EventsReply], None]


class RepositoryApi:
    """Answers the calls that frontends pass on."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        view: RepositoryView,
        settings: Settings,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._supervisor = supervisor
        self._view = view
        self._mode = settings.model_control_mode
        self._dialect: Dialect = DIALECTS[settings.dialect]
        self._loads = Loads(supervisor=supervisor, view=view, dialect=self._dialect)
        self._tasks = tasks
        self._turns = Turns()
        self._is_ending = False

    def call(self, call: Call, reply: Reply) -> None:
        """Carry out `call` and give its answer to `reply`."""
        self._tasks.create_task(self._answer(call, reply), name=f"call:{type(call).__name__}")

    def end(self) -> None:
        """Refuse all further calls: the server ends."""
        self._is_ending = True

    async def load(
        self, name: str, override: Override | None = None, *, origin: Origin = Origin.CLIENT
    ) -> Failure | None:
        """Load or reload a model; return why that failed, `None` on success."""
        try:
            checked = model_name(name)
            async with self._turns.turn(checked):
                self._refuse_at_end()
                begun = await self._loads.begin(checked, override, origin=origin)
                failure = await begun.settlement
                if failure is None:
                    self._view.remember(begun.definition, override)
        except MpserveError as error:
            return error.failure()
        finally:
            await self._loads.tidy_up()
        return failure

    async def unload_with_members(self, name: str) -> Failure | None:
        """Unload an ensemble and the models that only it needs; as `unload` for any other model."""
        members = unneeded_with(ModelName(name), self._supervisor.wanted)
        failures = await asyncio.gather(*(self.unload(one) for one in (name, *members)))
        return next((failure for failure in failures if failure is not None), None)

    async def unload(self, name: str) -> Failure | None:
        """Unload a model; return why that is not possible, `None` on success."""
        unknown = ModelName(name)
        async with self._turns.turn(name):
            if self._is_ending:
                return ShuttingDown("Server not ready").failure()
            if not self._is_known(unknown):
                return self._unload_of_unknown(name)
            failure = await self._supervisor.wish(unknown, None, origin=Origin.CLIENT)
            self._view.forget(unknown)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNLOAD_SECONDS):
                    await self._supervisor.until(lambda actual: is_gone(actual, unknown))
        await self._loads.tidy_up()
        return failure

    async def index(self, *, ready_only: bool) -> tuple[IndexRow, ...]:
        """Return the rows of the repository index."""
        listing = await self._view.listing()
        listed = {
            name: self._view.fault(name) for name in listing.names if name not in listing.duplicates
        }
        rows = index_rows(self._supervisor.actual, listed=listed, ready_only=ready_only)
        return tuple(sorted((*rows, *_duplicate_rows(listing)), key=lambda row: row.name))

    async def _answer(self, call: Call, reply: Reply) -> None:
        try:
            await self._carry_out(call, reply)
        except Exception as error:  # noqa: BLE001  # the border around a call: it must be answered
            log.error("call.broke", call=type(call).__name__, reason=repr(error))
            failure = Failure(code=ErrorCode.INTERNAL, message=f"internal error: {error!r}")
            reply(CallDone(call_id=call.call_id, failure=failure))

    async def _carry_out(self, call: Call, reply: Reply) -> None:
        match call:
            case LoadCall():
                failure = self._control_refused(call.name) or await self.load(
                    call.name, Override(config=call.config, files=call.files)
                )
                reply(CallDone(call_id=call.call_id, failure=failure))
            case UnloadCall():
                unload = self.unload_with_members if call.unload_dependents else self.unload
                failure = self._control_refused(call.name) or await unload(call.name)
                reply(CallDone(call_id=call.call_id, failure=failure))
            case IndexCall():
                rows = await self.index(ready_only=call.ready_only)
                reply(IndexReply(call_id=call.call_id, rows=rows))
            case EventsCall():
                page = self._supervisor.events.page(model=call.model, since=call.since)
                reply(EventsReply(call_id=call.call_id, page=page))
            case _:
                assert_never(call)

    def _control_refused(self, name: str) -> Failure | None:
        if self._mode is ModelControlMode.EXPLICIT:
            return None
        return ControlRefused(self._dialect.phrases.control_refused.format(name=name)).failure()

    def _refuse_at_end(self) -> None:
        if self._is_ending:
            raise ShuttingDown("Server not ready")

    def _unload_of_unknown(self, name: str) -> Failure | None:
        if self._dialect.unload_of_unknown_succeeds:
            return None
        return ModelNotFound(self._dialect.phrases.unknown_model.format(name=name)).failure()

    def _is_known(self, name: ModelName) -> bool:
        """Whether there is something to unload: it serves, its load has failed, or it waits."""
        model = self._supervisor.actual.models.get(name)
        if model is not None and model.misfit is not None:
            return True
        return model is not None and any(
            one.state is not ModelState.UNAVAILABLE or one.reason != UNLOADED
            for one in shown_versions(model)
        )


def _duplicate_rows(listing: Listing) -> list[IndexRow]:
    return [
        IndexRow(name=name, version=None, state=ModelState.UNAVAILABLE, reason=DUPLICATE_REASON)
        for name in listing.duplicates
    ]
