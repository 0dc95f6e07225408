"""Traces as spans of OpenTelemetry; its packages are imported when the first span is made.

Guarantees
    Whoever brings W3C's context has its spans in that trace. Spans go out from a thread of the
    exporter, in batches; while the collector can not be reached, what waits is bounded.
Source
    Triton's mode `opentelemetry`: names of spans and attributes.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mpserve.model.trace_setting import SpanExport

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span, TracerProvider

PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
CONTEXT_HEADERS: Final = ("traceparent", "tracestate")
ROOT_NAME: Final = "InferRequest"
COMPUTE_NAME: Final = "compute"
SERVICE: Final = {"service.name": "triton-inference-server"}
FLUSH_SECONDS: Final = 2.0


class OpenSpan:
    """A span that has begun.

    Attributes
    ----------
    context
        W3C's headers of it, as a JSON object.
    """

    def __init__(self, span: "Span", context: str, offset_ns: int) -> None:
        self._span = span
        self._offset_ns = offset_ns
        self.context = context

    def event(self, name: str, at_ns: int) -> None:
        """Note when something happened, on the monotonic clock."""
        self._span.add_event(name, timestamp=at_ns + self._offset_ns)

    def end(self, at_ns: int) -> None:
        """End it; nothing can be noted after that."""
        self._span.end(end_time=at_ns + self._offset_ns)


class Spans:
    """Makes and exports the spans of one process."""

    def __init__(self, export: SpanExport) -> None:
        self._export = export
        self._provider: TracerProvider | None = None

    def begin(
        self, name: str, *, context: str, at_ns: int, attributes: Mapping[str, str | int]
    ) -> OpenSpan:
        """Begin a span, within that of `context` when there is one."""
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415  an extra
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        wire = TraceContextTextMapPropagator()
        offset_ns = time.time_ns() - time.monotonic_ns()
        carrier: dict[str, str] = json.loads(context) if context else {}
        span: Any = (
            self._opened()
            .get_tracer("triton-server")
            .start_span(
                name,
                context=wire.extract(carrier),
                kind=SpanKind.SERVER,
                attributes=dict(attributes),
                start_time=at_ns + offset_ns,
            )
        )
        told: dict[str, str] = {}
        wire.inject(told, context=set_span_in_context(span))
        return OpenSpan(span, json.dumps(told), offset_ns)

    def close(self) -> None:
        """Export what waits, for a moment."""
        if self._provider is not None:
            # It exports first, and tries for 30 s where nobody answers: a server's end is sooner.
            ending = threading.Thread(target=self._provider.shutdown, daemon=True)
            ending.start()
            ending.join(FLUSH_SECONDS)
            self._provider = None

    def _opened(self) -> "TracerProvider":
        if self._provider is None:
            self._provider = _provider(self._export)
        return self._provider


def context_of(headers: Mapping[str, str]) -> str:
    """Return W3C's headers among those of a request as a JSON object; "" when there are none."""
    found = {name: headers[name] for name in CONTEXT_HEADERS if name in headers}
    return json.dumps(found) if "traceparent" in found else ""


def _provider(export: SpanExport) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  an extra
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource.create({**SERVICE, **export.resource}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(endpoint=export.url),
            max_queue_size=export.queue_size,
            schedule_delay_millis=export.delay_ms,
            max_export_batch_size=export.batch_size,
        )
    )
    return provider
