"""Spans that nobody takes."""

import time

from mpserve.model.trace_setting import SpanExport
from mpserve.telemetry import spans
from tests.fixtures.pace import within


def test_a_collector_that_is_away_holds_an_end_up_for_a_moment(monkeypatch):
    """The exporter itself tries again for several seconds."""
    monkeypatch.setattr(spans, "FLUSH_SECONDS", 0.1)
    made = spans.Spans(SpanExport(url="http://127.0.0.1:9/v1/traces"))
    span = made.begin("one", context="", at_ns=time.monotonic_ns(), attributes={})
    span.end(time.monotonic_ns())
    begun = time.monotonic()
    made.close()
    assert time.monotonic() - begun < within(1)
