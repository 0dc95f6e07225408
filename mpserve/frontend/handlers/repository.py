"""Repository calls of clients: to the supervisor and back, each with a deadline.

Guarantees: every call is answered exactly once: by the supervisor, by its deadline, or by the end
of the server. A call that met the death of a supervisor is made again, once: all of them may be.
Owner: the frontend; a call whose client went away is answered into nothing.
"""

import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol, assert_never

import msgspec

from mpserve.codec.management_json import LoadParameters
from mpserve.control.message import Message
from mpserve.control.messages import (
    CallDone,
    EventsCall,
    EventsReply,
    IndexCall,
    IndexReply,
    LoadCall,
    LoggingCall,
    LoggingReply,
    UnloadCall,
)
from mpserve.control.region_messages import (
    RegionCall,
    RegisterRegionCall,
    UnregisterRegionsCall,
)
from mpserve.control.trace_messages import TraceCall, TraceReply
from mpserve.errors import ErrorCode, Failure
from mpserve.model.event import EventPage
from mpserve.model.log_switches import LogChange, LogSwitches
from mpserve.model.state import IndexRow
from mpserve.model.trace_setting import ToldTrace, TraceChange
from mpserve.settings import Settings

INDEX_SECONDS: Final = 10.0  # the supervisor reads it from memory
UNLOAD_SECONDS: Final = 60.0  # it marks and returns; earlier wishes for the model come first
LOAD_SLACK_SECONDS: Final = 60.0  # scan, start of processes, publication

Call = LoadCall | UnloadCall | IndexCall | EventsCall | LoggingCall | TraceCall | RegionCall
Reply = CallDone | IndexReply | EventsReply | LoggingReply | TraceReply
RepositoryResult = Failure | tuple[IndexRow, ...] | None
OnResult = Callable[[RepositoryResult], None]
OnSwitches = Callable[[Failure | LogSwitches], None]
OnSetting = Callable[[Failure | ToldTrace], None]
OnEvents = Callable[[Failure | EventPage], None]


class Timer(Protocol):
    """A call that a loop makes later."""

    def cancel(self) -> None:
        """Do not make it."""


CallLater = Callable[[float, Callable[[int], None], int], Timer]


class _Waiting(msgspec.Struct, kw_only=True):
    on_result: Callable[[Any], None]  # of the call's own results; a failure is one of each
    timer: Timer
    what: str
    seconds: float
    call: Call | None = None
    is_repeated: bool = False


class RepositoryCalls:
    """Calls that wait for the supervisor.

    Parameters
    ----------
    send
        To the supervisor.
    call_later
        The loop's, for deadlines.
    """

    def __init__(
        self,
        *,
        send: Callable[[Message], None],
        call_later: CallLater,
        settings: Settings,
    ) -> None:
        self._send = send
        self._call_later = call_later
        self._load_seconds = _patience(settings)
        self._waiting: dict[int, _Waiting] = {}
        self._ids = itertools.count(1)
        self._has_ended = False

    def change(self, settings: Settings) -> None:
        """Wait for loads from now on for as long as `settings` let them take."""
        self._load_seconds = _patience(settings)

    def load(self, name: str, parameters: LoadParameters, on_result: OnResult) -> None:
        """Load a model; `on_result` gets `None` when it serves."""
        call_id = self._open(f"load of '{name}'", self._load_seconds, on_result)
        if call_id is not None:
            self._make(
                LoadCall(
                    call_id=call_id, name=name, config=parameters.config, files=parameters.files
                )
            )

    def unload(self, name: str, on_result: OnResult, *, unload_dependents: bool) -> None:
        """Unload a model; `on_result` gets `None` when requests are refused."""
        call_id = self._open(f"unload of '{name}'", UNLOAD_SECONDS, on_result)
        if call_id is not None:
            self._make(UnloadCall(call_id=call_id, name=name, unload_dependents=unload_dependents))

    def index(self, on_result: OnResult, *, ready_only: bool) -> None:
        """Ask for the index; `on_result` gets the rows."""
        call_id = self._open("index", INDEX_SECONDS, on_result)
        if call_id is not None:
            self._make(IndexCall(call_id=call_id, ready_only=ready_only))

    def events(self, on_result: OnEvents, *, model: str, since: int) -> None:
        """Ask for the events after a number, of one model or ("") of all."""
        call_id = self._open("events", INDEX_SECONDS, on_result)
        if call_id is not None:
            self._make(EventsCall(call_id=call_id, model=model, since=since))

    def logging(self, on_result: OnSwitches, *, change: LogChange) -> None:
        """Change the switches of the log; `on_result` gets all of them."""
        call_id = self._open("logging", INDEX_SECONDS, on_result)
        if call_id is not None:
            self._make(LoggingCall(call_id=call_id, change=change))

    def trace(self, on_result: OnSetting, *, model: str, change: TraceChange) -> None:
        """Change the trace setting of a model, or ("") the server's; `on_result` gets it."""
        call_id = self._open("trace setting", INDEX_SECONDS, on_result)
        if call_id is not None:
            self._make(TraceCall(call_id=call_id, model=model, change=change))

    def register_region(
        self, on_result: OnResult, *, name: str, key: str, offset: int, byte_size: int
    ) -> None:
        """Register shared memory of a client; all frontends know it when `on_result` is called."""
        call_id = self._open("register", INDEX_SECONDS, on_result)
        if call_id is not None:
            self._make(
                RegisterRegionCall(
                    call_id=call_id, name=name, key=key, offset=offset, byte_size=byte_size
                )
            )

    def unregister_regions(self, on_result: OnResult, *, name: str) -> None:
        """Forget a region of a client, or ("") all."""
        call_id = self._open("unregister", INDEX_SECONDS, on_result)
        if call_id is not None:
            self._make(UnregisterRegionsCall(call_id=call_id, name=name))

    def on_reply(self, reply: Reply) -> None:
        """Take an answer of the supervisor; a late one is dropped."""
        waiting = self._waiting.pop(reply.call_id, None)
        if waiting is None:
            return
        waiting.timer.cancel()
        match reply:
            case IndexReply():
                waiting.on_result(reply.rows)
            case EventsReply():
                waiting.on_result(reply.page)
            case LoggingReply():
                waiting.on_result(reply.switches)
            case TraceReply():
                waiting.on_result(reply.told)
            case CallDone():
                waiting.on_result(reply.failure)
            case _:
                assert_never(reply)

    def repeat(self) -> None:
        """Make the calls that wait again, to a supervisor that knows nothing of them.

        One that met two deaths may be their cause, and is refused.
        """
        for call_id, waiting in list(self._waiting.items()):
            if waiting.is_repeated or waiting.call is None:
                del self._waiting[call_id]
                waiting.timer.cancel()
                waiting.on_result(_lost(waiting.what))
            else:
                waiting.is_repeated = True
                self._send(waiting.call)

    def end(self) -> None:
        """Answer everything: the server is gone."""
        self._has_ended = True
        for call_id in list(self._waiting):
            waiting = self._waiting.pop(call_id)
            waiting.timer.cancel()
            waiting.on_result(_gone(waiting.what))

    def waiting_count(self) -> int:
        """Return how many calls wait."""
        return len(self._waiting)

    def _make(self, call: Call) -> None:
        self._waiting[call.call_id].call = call
        self._send(call)

    def _open(self, what: str, seconds: float, on_result: Callable[[Any], None]) -> int | None:
        if self._has_ended:
            on_result(_gone(what))
            return None
        call_id = next(self._ids)
        timer = self._call_later(seconds, self._expire, call_id)
        self._waiting[call_id] = _Waiting(
            on_result=on_result, timer=timer, what=what, seconds=seconds
        )
        return call_id

    def _expire(self, call_id: int) -> None:
        waiting = self._waiting.pop(call_id, None)
        if waiting is not None:
            waiting.on_result(
                Failure(
                    code=ErrorCode.DEADLINE,
                    message=f"{waiting.what}: the supervisor did not answer within "
                    f"{waiting.seconds:g} s; it may still be done",
                )
            )


def _lost(what: str) -> Failure:
    return Failure(
        code=ErrorCode.UNAVAILABLE,
        message=f"{what}: the supervisor died twice while it carried this out",
    )


def _gone(what: str) -> Failure:
    return Failure(code=ErrorCode.UNAVAILABLE, message=f"{what}: the server is ending")


def _patience(settings: Settings) -> float:
    """Return after how many seconds a load call is not waited for any more."""
    attempts = 1 + settings.model_load_retry_count
    return settings.model_load_timeout_secs * attempts + LOAD_SLACK_SECONDS
