"""Traces of the requests that one process sends on: who is traced, and what is noted when.

Guarantees
    While nothing is traced, a request costs a look at a flag. A trace ends with the last answer; of
    a request that its client took back there is none.
Owner
    A frontend, which begins traces; or a worker that calls models, which goes on with them.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from mpserve.dispatch.ensemble_answer import AnyAnswer, OnAnswer
from mpserve.dispatch.request_trace import (
    ModelRecords,
    ModelSpans,
    ModelTrace,
    WireRecords,
    WireSpan,
    WireTrace,
)
from mpserve.model.arrival import Arrival
from mpserve.model.request import InferRequest
from mpserve.model.trace_link import TraceLink, decode_link, encode_link
from mpserve.model.trace_setting import (
    TENSORS,
    TIMESTAMPS,
    SpanExport,
    TraceMode,
    TraceRow,
)
from mpserve.shm.dispatcher import Dispatcher
from mpserve.shm.trace_board import TraceBoard
from mpserve.telemetry import trace_record
from mpserve.telemetry.spans import Spans
from mpserve.telemetry.trace_file import file_of

SERVER: Final = ""  # whose setting holds for models that have none of their own


class ArrivedTrace(msgspec.Struct, frozen=True):
    """A traced request of a client, from the first byte to the last one of its answer."""

    arrival: Arrival
    link: TraceLink
    trace: WireTrace

    def told(self, on_answer: OnAnswer) -> OnAnswer:
        """Return `on_answer` with notes of when it began and ended."""
        return partial(self._tell, on_answer)

    def _tell(self, on_answer: OnAnswer, answer: AnyAnswer) -> None:
        if not answer.final:
            on_answer(answer)
            return
        _, _, begun, ended = self.arrival.wire.value
        self.trace.moment(begun, time.monotonic_ns())
        on_answer(answer)
        now_ns = time.monotonic_ns()
        self.trace.moment(ended, now_ns)
        self.trace.end(now_ns)


class Tracer:
    """Begins traces, and goes on with those that others have begun."""

    def __init__(self, dispatcher: Dispatcher, *, server_id: str, export: SpanExport) -> None:
        self._dispatcher = dispatcher
        self._server_id = server_id
        self._spans = Spans(export)
        self._board: TraceBoard | None = None
        self._rows: Mapping[str, TraceRow | None] = {}

    def trace_by(self, rows: Mapping[str, TraceRow | None]) -> None:
        """Trace from now on by these settings: by model, "" for the others; `None` for not."""
        self._rows = rows
        gates = {name: None if row is None else _gate(row) for name, row in rows.items()}
        self._dispatcher.trace_by(self._opened().native, gates)  # pyright: ignore[reportUnknownMemberType]  # the stub has a bare dict

    def arrive(self, model: str, arrival: Callable[[], Arrival]) -> ArrivedTrace | None:
        """Return the trace of a request for `model`; `None` when it is not traced."""
        if not self._dispatcher.traces:
            return None
        came = arrival()
        if not self._dispatcher.take_trace(model, bool(came.context)):
            return None
        row = self._rows.get(model) or self._rows[SERVER]
        assert row is not None, "nobody is sampled by no setting"
        board = self._opened().native
        setting = row.setting
        goes_to_file = setting.mode is TraceMode.TRITON
        link = TraceLink(
            id=board.next_id(),
            parent_id=0,
            timestamps=TIMESTAMPS in setting.levels,
            tensors=TENSORS in setting.levels,
            file=file_of(
                setting.file, ticket=board.next_ticket(), log_frequency=setting.log_frequency
            )
            if goes_to_file
            else "",
        )
        trace = WireRecords(link, came) if goes_to_file else WireSpan(self._spans, came)
        return ArrivedTrace(came, msgspec.structs.replace(link, context=trace.context), trace)

    def follow(
        self,
        request: InferRequest,
        on_answer: OnAnswer,
        *,
        name: str,
        version: str,
        arrived: ArrivedTrace | None = None,
    ) -> tuple[InferRequest, OnAnswer]:
        """Return a request that is about to be sent to a model, and its callback, with notes.

        Parameters
        ----------
        arrived
            The trace whose first model this is; `None` when the request may belong to another one.
        """
        if arrived is None and not request.trace_context:
            return request, on_answer
        link = self._link(request, arrived)
        given = {"name": name, "version": version, "request_id": request.id or ""}
        trace: ModelTrace
        if arrived is not None:
            trace = arrived.trace.model(link, **given)
        elif link.file:
            trace = ModelRecords(link, **given, into=None)
        else:
            trace = ModelSpans(link, self._spans, **given)
        trace.moment(trace_record.REQUEST_START, time.monotonic_ns())
        trace.inputs(request)
        for_model = msgspec.structs.replace(link, id=0, parent_id=link.id, context=trace.context)
        followed = msgspec.structs.replace(request, trace_context=encode_link(for_model))
        trace.moment(trace_record.QUEUE_START, time.monotonic_ns())
        return followed, partial(_note, trace, on_answer)

    def close(self) -> None:
        """Export what waits."""
        self._spans.close()

    def _link(self, request: InferRequest, arrived: ArrivedTrace | None) -> TraceLink:
        if arrived is not None:
            return arrived.link
        link = decode_link(request.trace_context)
        return msgspec.structs.replace(link, id=self._opened().native.next_id())

    def _opened(self) -> TraceBoard:
        if self._board is None:
            self._board = TraceBoard.attach(self._server_id)
        return self._board


def _gate(row: TraceRow) -> tuple[int, int, int, bool]:
    setting = row.setting
    return row.slot, setting.rate, setting.count, setting.mode is TraceMode.OPENTELEMETRY


def _note(trace: ModelTrace, on_answer: OnAnswer, answer: AnyAnswer) -> None:
    if answer.wants_input:
        on_answer(answer)
        return
    trace.moment(trace_record.RESPONSE_COMPLETE, time.monotonic_ns())
    trace.outputs(answer)
    if answer.final:
        begun_ns, input_ns, execute_ns, output_ns = answer.times
        if begun_ns:
            executes_ns = begun_ns + input_ns
            executed_ns = executes_ns + execute_ns
            trace.compute(
                (
                    (trace_record.COMPUTE_START, begun_ns),
                    (trace_record.COMPUTE_INPUT_END, executes_ns),
                    (trace_record.COMPUTE_OUTPUT_START, executed_ns),
                    (trace_record.COMPUTE_END, executed_ns + output_ns),
                )
            )
        now_ns = time.monotonic_ns()
        trace.moment(trace_record.REQUEST_END, now_ns)
        trace.end(now_ns)
    on_answer(answer)
