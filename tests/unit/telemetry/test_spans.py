"""Spans that nobody takes."""

import subprocess
import sys

from tests.fixtures.pace import within

ENDS = """
import time
from mpserve.model.trace_setting import SpanExport
from mpserve.telemetry import spans

spans.FLUSH_SECONDS = 0.1
made = spans.Spans(SpanExport(url="http://127.0.0.1:9/v1/traces"))
made.begin("one", context="", at_ns=time.monotonic_ns(), attributes={}).end(time.monotonic_ns())
begun = time.monotonic()
made.close()
print(time.monotonic() - begun)
"""


def test_a_collector_that_is_away_holds_an_end_up_for_a_moment():
    """In a process of its own: the exporter goes on trying, in a thread, until that ends."""
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=True)
    assert float(done.stdout) < within(2)
