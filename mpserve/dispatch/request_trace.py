"""What is recorded of one request: of its way through a wire, and of its way through a model.

A trace goes into a file or out as spans; both kinds take the same notes.
"""

from collections.abc import Iterable
from typing import Protocol

from mpserve.dispatch.ensemble_answer import AnyAnswer
from mpserve.model.arrival import Arrival
from mpserve.model.request import InferRequest
from mpserve.model.trace_link import TraceLink
from mpserve.telemetry import trace_file, trace_record
from mpserve.telemetry.spans import COMPUTE_NAME, ROOT_NAME, OpenSpan, Spans
from mpserve.telemetry.trace_file import Record


class ModelTrace(Protocol):
    """A request to one model.

    Attributes
    ----------
    context
        W3C's headers for what belongs to it, as a JSON object; "" for none.
    """

    context: str

    def moment(self, name: str, at_ns: int) -> None:
        """Note when something happened."""

    def compute(self, moments: Iterable[tuple[str, int]]) -> None:
        """Note when what happened in the instance."""

    def inputs(self, request: InferRequest) -> None:
        """Note what the model is given."""

    def outputs(self, answer: AnyAnswer) -> None:
        """Note what the model gave."""

    def end(self, at_ns: int) -> None:
        """Note the end."""


class WireTrace(Protocol):
    """A request from its first byte to the last one of its answer; `context` as above."""

    context: str

    def moment(self, name: str, at_ns: int) -> None:
        """Note when something happened."""

    def model(self, link: TraceLink, *, name: str, version: str, request_id: str) -> ModelTrace:
        """Return the trace of the model that answers it."""
        ...

    def end(self, at_ns: int) -> None:
        """Note the end."""


# --- in a file ----------------------------------------------------------------------------------


class WireRecords:
    """Records of a request that came by a wire, and of the model that answered."""

    context = ""

    def __init__(self, link: TraceLink, arrival: Arrival) -> None:
        self._link = link
        self._records: list[Record] = []
        begun, complete, _, _ = arrival.wire.value
        self.moment(begun, arrival.begun_ns)
        self.moment(complete, arrival.complete_ns)

    def moment(self, name: str, at_ns: int) -> None:
        """Note when something happened."""
        if self._link.timestamps:
            self._records.append(trace_record.moment_record(self._link.id, name, at_ns))

    def model(self, link: TraceLink, *, name: str, version: str, request_id: str) -> ModelTrace:
        """Return the trace of the model, whose records come with these."""
        return ModelRecords(
            link, name=name, version=version, request_id=request_id, into=self._records
        )

    def end(self, at_ns: int) -> None:  # noqa: ARG002  the moments say it
        """Write all records."""
        trace_file.append(self._link.file, self._records)


class ModelRecords:
    """Records of a request to one model.

    Parameters
    ----------
    into
        Where they are kept by whoever writes them; `None`: they are written at the end.
    """

    context = ""

    def __init__(
        self,
        link: TraceLink,
        *,
        name: str,
        version: str,
        request_id: str,
        into: list[Record] | None,
    ) -> None:
        self._link = link
        self._writes = into is None
        self._records: list[Record] = [] if into is None else into
        self._records.append(
            trace_record.identity_record(
                link.id,
                model=name,
                version=version,
                request_id=request_id,
                parent_id=link.parent_id,
            )
        )

    def moment(self, name: str, at_ns: int) -> None:
        """Note when something happened."""
        if self._link.timestamps:
            self._records.append(trace_record.moment_record(self._link.id, name, at_ns))

    def compute(self, moments: Iterable[tuple[str, int]]) -> None:
        """Note when what happened in the instance."""
        for name, at_ns in moments:
            self.moment(name, at_ns)

    def inputs(self, request: InferRequest) -> None:
        """Note what the model is given."""
        if self._link.tensors:
            self._records += (
                trace_record.tensor_record(
                    self._link.id, trace_record.QUEUE_INPUT, tensor, tensor.datatype.name
                )
                for tensor in request.inputs
            )

    def outputs(self, answer: AnyAnswer) -> None:
        """Note what the model gave."""
        if self._link.tensors:
            self._records += (
                trace_record.tensor_record(
                    self._link.id, trace_record.BACKEND_OUTPUT, tensor, tensor.datatype
                )
                for tensor in answer.outputs
            )

    def end(self, at_ns: int) -> None:  # noqa: ARG002  the moments say it
        """Write the records, unless somebody else does."""
        if self._writes:
            trace_file.append(self._link.file, self._records)


# --- as spans -----------------------------------------------------------------------------------


class WireSpan:
    """Span of a request that came by a wire."""

    def __init__(self, spans: Spans, arrival: Arrival) -> None:
        self._spans = spans
        self._span = spans.begin(
            ROOT_NAME, context=arrival.context, at_ns=arrival.begun_ns, attributes={}
        )
        self.context = self._span.context
        begun, complete, _, _ = arrival.wire.value
        self.moment(begun, arrival.begun_ns)
        self.moment(complete, arrival.complete_ns)

    def moment(self, name: str, at_ns: int) -> None:
        """Note when something happened."""
        self._span.event(name, at_ns)

    def model(self, link: TraceLink, *, name: str, version: str, request_id: str) -> ModelTrace:
        """Return the trace of the model, within this span."""
        return ModelSpans(link, self._spans, name=name, version=version, request_id=request_id)

    def end(self, at_ns: int) -> None:
        """End the span."""
        self._span.end(at_ns)


class ModelSpans:
    """Spans of a request to one model: its own, and one of what happened in the instance."""

    def __init__(
        self, link: TraceLink, spans: Spans, *, name: str, version: str, request_id: str
    ) -> None:
        self._spans = spans
        self._name = name
        self._attributes: dict[str, str | int] = {
            "triton.model_name": name,
            "triton.model_version": int(version) if version.isdecimal() else version,
            "triton.trace_id": link.id,
            "triton.trace_parent_id": link.parent_id,
        }
        if request_id:
            self._attributes["triton.request_id"] = request_id
        self._outer = link.context
        self._span: OpenSpan | None = None
        self.context = ""

    def moment(self, name: str, at_ns: int) -> None:
        """Note when something happened; with the first moment the span begins."""
        if self._span is None:
            self._span = self._spans.begin(
                self._name, context=self._outer, at_ns=at_ns, attributes=self._attributes
            )
            self.context = self._span.context
        self._span.event(name, at_ns)

    def compute(self, moments: Iterable[tuple[str, int]]) -> None:
        """Note when what happened in the instance."""
        (first, begun_ns), *others = moments
        span = self._spans.begin(COMPUTE_NAME, context=self.context, at_ns=begun_ns, attributes={})
        span.event(first, begun_ns)
        last_ns = begun_ns
        for name, at_ns in others:
            span.event(name, at_ns)
            last_ns = at_ns
        span.end(last_ns)

    def inputs(self, request: InferRequest) -> None:
        """Spans carry no tensors, as those of the peer."""

    def outputs(self, answer: AnyAnswer) -> None:
        """Spans carry no tensors, as those of the peer."""

    def end(self, at_ns: int) -> None:
        """End the span."""
        if self._span is not None:
            self._span.end(at_ns)
