"""What clients may change of a running server's traces, and what its frontends trace by.

Owner: the supervisor. A model has a setting of its own while something of it was set; what was not
is the server's. Counts of a setting that changed begin anew.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from mpserve.control.trace_messages import TraceCall, TraceReply
from mpserve.errors import ConfigError, InvalidRequest, QueueFull
from mpserve.model.trace_setting import (
    UNLIMITED,
    ToldTrace,
    TraceMode,
    TraceOverride,
    TraceRow,
    TraceSetting,
    changed,
    overridden,
)
from mpserve.settings import Settings
from mpserve.shm.trace_board import SLOTS, TraceBoard
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.telemetry import trace_file

TRACE_PREFIX: Final = "trace/"
SERVER: Final = ""
_SERVER_SLOT: Final = 0

Rows = dict[str, TraceRow | None]


class _Own(msgspec.Struct, frozen=True, kw_only=True):
    """What was set of the server or a model, and where its requests are counted."""

    slot: int
    override: TraceOverride


class TraceApi:
    """Keeps the settings.

    Parameters
    ----------
    publish
        Tells all frontends.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        board: TraceBoard,
        checkpoint: Checkpoint,
        publish: Callable[[Rows], None],
    ) -> None:
        self._first = settings.trace
        self._export = settings.span_export
        self._board = board.native
        self._checkpoint = checkpoint
        self._publish = publish
        self._own = {
            SERVER: _Own(slot=_SERVER_SLOT, override=TraceOverride()),
            **checkpoint.read_all(TRACE_PREFIX, _Own),
        }

    def change(self, settings: Settings) -> None:
        """Trace by `settings` where clients have said nothing else."""
        if settings.trace != self._first:
            self._first = settings.trace
            self._board.reset(_SERVER_SLOT)
            self._publish(self.rows())

    def rows(self) -> Rows:
        """Return what frontends trace by."""
        server = self._setting(SERVER)
        rows: Rows = {}
        for name, own in self._own.items():
            setting = self._setting(name)
            traces = setting.is_on and not setting.fault
            if traces:
                rows[name] = TraceRow(slot=own.slot, setting=setting)
            elif name != SERVER and server.is_on:
                rows[name] = None
        return rows

    def call(self, call: TraceCall) -> TraceReply:
        """Change a setting, and tell it.

        Raises
        ------
        InvalidRequest
            Nothing could be traced by it.
        QueueFull
            Too many models have a setting of their own.
        """
        before = self._own.get(call.model)
        known = before.override if before is not None else TraceOverride()
        override = changed(known, call.change)
        if override != known:
            self._change(call.model, override)
        setting = self._setting(call.model)
        spans = setting.mode is TraceMode.OPENTELEMETRY
        return TraceReply(
            call_id=call.call_id,
            told=ToldTrace(
                setting=self._told(call.model, setting), export=self._export if spans else None
            ),
        )

    def _change(self, name: str, override: TraceOverride) -> None:
        before = self._own.copy()
        if name == SERVER or override != TraceOverride():
            self._own[name] = _Own(slot=self._slot(name), override=override)
        else:
            del self._own[name]
        fault = self._setting(name).fault
        if fault:
            self._own = before
            raise InvalidRequest(f"Attempting to set invalid trace setting :{fault}")
        if name in self._own:
            self._board.reset(self._own[name].slot)
            self._checkpoint.put(f"{TRACE_PREFIX}{name}", self._own[name])
        else:
            self._checkpoint.drop(f"{TRACE_PREFIX}{name}")
        self._publish(self.rows())

    def _setting(self, name: str) -> TraceSetting:
        server = overridden(self._first, self._own[SERVER].override)
        if name == SERVER or name not in self._own:
            return server
        return overridden(server, self._own[name].override)

    def _told(self, name: str, setting: TraceSetting) -> TraceSetting:
        """The count is of those that are still to come."""
        if setting.count == UNLIMITED:
            return setting
        slot = self._own.get(name, self._own[SERVER]).slot
        left = max(setting.count - self._board.made(slot), 0)
        return msgspec.structs.replace(setting, count=left)

    def _slot(self, name: str) -> int:
        if name in self._own:
            return self._own[name].slot
        free = set(range(1, SLOTS)) - {own.slot for own in self._own.values()}
        if not free:
            raise QueueFull(f"at most {SLOTS - 1} models may have trace settings of their own")
        return min(free)


def begin_trace_file(setting: TraceSetting) -> None:
    """Begin the trace file of a server that starts anew.

    Raises
    ------
    ConfigError
        It can not be written, or is somebody's own.
    """
    if setting.mode is not TraceMode.TRITON or not setting.file:
        return
    _tried(trace_file.clear, setting.file)


def check_trace_file(setting: TraceSetting) -> None:
    """Raise `ConfigError` where a running server could not add its traces to the file."""
    if setting.mode is TraceMode.TRITON and setting.file:
        _tried(trace_file.check, setting.file)


def _tried(what: Callable[[str], None], path: str) -> None:
    try:
        what(path)
    except OSError as error:
        raise ConfigError(
            f"--trace-config triton,file={path}: {error.strerror}; give a file that can be written"
        ) from error
