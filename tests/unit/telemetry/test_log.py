"""Lines of the log."""

import itertools
import json
import os
import time

import pytest

from mpserve.model.log_switches import LogFormat, LogLevel, LogSwitches
from mpserve.telemetry.log import (
    BURST,
    MAX_KEYS,
    WINDOW_NS,
    Log,
    Repetition,
    RepetitionKey,
    text_line,
)

NOON_NS = 1_700_000_000_123_456_789
DIED = RepetitionKey(LogLevel.WARNING, "worker.died model=a")


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def make_log(fd, *, log_format=LogFormat.DEFAULT, **switches):
    return Log(LogSwitches(log_format=log_format.value, **switches), role="worker", fd=fd)


def written(reader, writer, log, *events):
    for level, event, fields in events:
        log.emit(level, event, fields)
    os.write(writer, b"end\n")
    text = b""
    while not text.endswith(b"end\n"):
        text += os.read(reader, 65536)
    return text.decode().splitlines()[:-1]


def test_a_json_line_holds_the_event_and_its_fields(pipe):
    log = make_log(pipe[1], log_format=LogFormat.JSON)
    (line,) = written(*pipe, log, (LogLevel.INFO, "worker.ready", {"model": "a", "load_ms": 4}))
    fields = json.loads(line)
    assert fields.pop("at").endswith("Z")
    assert fields == {
        "level": "info",
        "event": "worker.ready",
        "process": "worker",
        "pid": os.getpid(),
        "model": "a",
        "load_ms": 4,
    }


def test_a_json_line_survives_what_json_can_not_hold(pipe):
    log = make_log(pipe[1], log_format=LogFormat.JSON)
    (line,) = written(*pipe, log, (LogLevel.INFO, "x.happened", {"a": "\udc80", "b": 1 << 80}))
    assert json.loads(line)["a"] == "?"


def test_a_text_line_quotes_words_with_blanks_and_puts_tracebacks_below():
    line = text_line(
        LogLevel.ERROR,
        "load.failed",
        {"model": "a b", "traceback": "one\ntwo\n"},
        role="w",
        stamp="T",
    )
    assert line == (f'T E w[{os.getpid()}] load.failed model="a b"\n  traceback:\n    one\n    two')


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a\rb", "a\\\\rb"),
        ("\x1b[2Jgone", "\\\\x1b[2Jgone"),
        ("a\x00\x9b\u2028b", "a\\\\x00\\\\x9b\\\\u2028b"),
        ("a\u202eb", "a\\\\u202eb"),
    ],
    ids=["carriage return", "escape", "line ends", "direction"],
)
def test_no_value_steers_a_terminal_or_forges_a_line(value, told):
    def of(text):
        return text_line(LogLevel.INFO, "x.happened", {"name": text}, role="w", stamp="T")

    assert of(value).endswith(f'x.happened name="{told}"')
    forged = of(f"{value}\nT I w[1] x.happened")
    assert forged.splitlines()[2] == "    " + told.replace("\\\\", "\\")
    assert forged.splitlines()[3] == "    T I w[1] x.happened"


def test_lines_that_nobody_read_are_told_by_the_next(pipe):
    log = make_log(pipe[1], log_format=LogFormat.JSON)
    for number in range(2000):
        log.emit(LogLevel.INFO, "x.happened", {"name": f"{number:0100}"})
    kept = b""
    while (chunk := os.read(pipe[0], 1 << 16)).count(b"\n") > 0:
        kept += chunk
        if len(chunk) < 1 << 16:
            break
    lost, line = (json.loads(one) for one in written(*pipe, log, (LogLevel.INFO, "x.ended", {})))
    assert lost["event"] == "lines.lost"
    assert lost["level"] == "warning"
    assert lost["count"] == 2000 - kept.count(b"\n")
    assert line["event"] == "x.ended"


@pytest.mark.parametrize("on", list(itertools.product([False, True], repeat=4)), ids=str)
@pytest.mark.parametrize("later", [False, True], ids=["from the start", "switched"])
def test_a_level_is_written_when_its_switch_is_on_whatever_the_others_are(pipe, on, later):
    verbose, info, warning, error = on
    switches = LogSwitches(
        verbose_level=int(verbose), info=info, warning=warning, error=error, log_format="json"
    )
    log = Log(LogSwitches() if later else switches, role="worker", fd=pipe[1])
    if later:
        log.switch(switches)
    events = [(each, f"{each.value}.said", {}) for each in LogLevel]
    found = [json.loads(line)["level"] for line in written(*pipe, log, *events)]
    assert found == [level.value for level, is_on in zip(LogLevel, on, strict=True) if is_on]


def test_what_was_left_out_is_told_as_severely_as_it_was(pipe, monkeypatch):
    clock = [NOON_NS]
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock[0])
    log = make_log(pipe[1], log_format=LogFormat.JSON, warning=False)
    repeated = [(LogLevel.INFO, "x.happened", {})] * (BURST + 2)
    written(*pipe, log, *repeated, *[(LogLevel.WARNING, "y.happened", {})] * (BURST + 2))
    clock[0] += WINDOW_NS
    told = [json.loads(line) for line in written(*pipe, log, (LogLevel.ERROR, "z.happened", {}))]
    assert [(line["level"], line["event"], line.get("count")) for line in told] == [
        ("info", "lines.suppressed", 2),
        ("error", "z.happened", None),
    ]


def test_iso8601_lines_start_with_utc(pipe):
    log = make_log(pipe[1], log_format=LogFormat.ISO8601)
    (line,) = written(*pipe, log, (LogLevel.INFO, "x.happened", {}))
    assert line[10] == "T"
    assert line[23] == "Z"


def test_a_line_that_repeats_is_written_a_limited_number_of_times(pipe):
    log = make_log(pipe[1])
    events = [(LogLevel.WARNING, "worker.died", {"model": "a", "pid": pid}) for pid in range(50)]
    assert len(written(*pipe, log, *events)) == BURST


def test_lines_with_other_words_are_not_repetitions(pipe):
    log = make_log(pipe[1])
    events = [(LogLevel.INFO, "worker.ready", {"model": f"m{number}"}) for number in range(50)]
    assert len(written(*pipe, log, *events)) == 50


def test_what_was_left_out_is_counted_when_the_window_ends():
    repetition = Repetition()
    for _ in range(BURST + 7):
        repetition.admits(DIED, now_ns=NOON_NS)
    assert repetition.take_ended(now_ns=NOON_NS + WINDOW_NS - 1) == []
    assert repetition.take_ended(now_ns=NOON_NS + WINDOW_NS) == [(DIED, 7)]
    assert repetition.admits(DIED, now_ns=NOON_NS + WINDOW_NS)


def test_the_number_of_remembered_lines_is_bounded():
    repetition = Repetition()
    for number in range(MAX_KEYS * 2):
        key = RepetitionKey(LogLevel.INFO, f"x.happened word={number}")
        repetition.admits(key, now_ns=NOON_NS)
    assert len(repetition._windows) <= MAX_KEYS


def test_a_closed_reader_loses_lines_and_raises_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        make_log(writer).emit(LogLevel.ERROR, "x.happened", {})
    finally:
        os.close(writer)
