"""What clients may change of a running server: the switches of its log, and its trace settings.

Owner: the supervisor. All processes are told of the log at once, and those that start later when
they start.
"""

from collections.abc import Callable
from typing import Final

from mpserve.control.messages import (
    CallDone,
    LoggingCall,
    LoggingReply,
    SetLog,
)
from mpserve.control.trace_messages import TraceCall, TraceReply
from mpserve.errors import MpserveError
from mpserve.model.log_switches import LogSwitches, switched
from mpserve.settings import Settings
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.processes import Processes
from mpserve.supervisor.root_link import RootLink
from mpserve.supervisor.trace_api import TraceApi
from mpserve.telemetry import log

SWITCHES: Final = "log"

SettingCall = LoggingCall | TraceCall
Reply = Callable[[LoggingReply | TraceReply | CallDone], None]


class SettingApi:
    """Answers the calls that frontends pass on."""

    def __init__(
        self,
        *,
        processes: Processes,
        root: RootLink,
        settings: Settings,
        checkpoint: Checkpoint,
        traces: TraceApi,
    ) -> None:
        self._processes = processes
        self._root = root
        self._traces = traces
        self._checkpoint = checkpoint
        self._first = settings.log
        self._switches = settings.log
        switched_before = checkpoint.read(SWITCHES, LogSwitches)
        if switched_before is not None:
            self._switch(switched_before)

    def change(self, settings: Settings) -> None:
        """Go on by `settings`; where they say something new of the log, it goes before clients."""
        if settings.log != self._first:
            self._first = settings.log
            self._switch(settings.log)
            self._checkpoint.put(SWITCHES, settings.log)
        self._traces.change(settings)

    def call(self, call: SettingCall, reply: Reply) -> None:
        """Carry out `call` and give its answer to `reply`."""
        try:
            if isinstance(call, LoggingCall):
                reply(self._log(call))
            else:
                reply(self._traces.call(call))
        except MpserveError as error:
            reply(CallDone(call_id=call.call_id, failure=error.failure()))

    def _log(self, call: LoggingCall) -> LoggingReply:
        switches = switched(self._switches, call.change)
        if switches != self._switches:
            log.info("log.switched", **log.described(switches))
            self._switch(switches)
            self._checkpoint.put(SWITCHES, switches)
        return LoggingReply(call_id=call.call_id, switches=switches)

    def _switch(self, switches: LogSwitches) -> None:
        self._switches = switches
        log.switch(switches)
        self._root.switch_log(switches)
        self._processes.tell_all(SetLog(switches=switches))
