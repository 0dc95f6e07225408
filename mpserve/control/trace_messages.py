"""Messages about traces: what a frontend traces by, and what clients change of that."""

from mpserve.control.message import Message
from mpserve.model.trace_setting import ToldTrace, TraceChange, TraceRow


class SetTracing(Message, frozen=True, kw_only=True):
    """Trace from now on by these settings: by model, "" for the others; `None` for not at all."""

    rows: dict[str, TraceRow | None]


class TraceCall(Message, frozen=True, kw_only=True):
    """Request of a client for the trace setting of a model, "" for the server's, after a change."""

    call_id: int
    model: str
    change: TraceChange


class TraceReply(Message, frozen=True, kw_only=True):
    """Answer to a trace call."""

    call_id: int
    told: ToldTrace
