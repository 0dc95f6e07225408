"""Structured log of every process: events with fields, one line each, on standard error.

    log.info("worker.ready", model=name, version=version, load_ms=412)

Guarantees
    A line is one `write(2)`, so lines of several processes do not mix on a pipe up to its atomic
    size. Writing never raises, nor waits for a reader that stands still: a full or closed pipe
    loses lines, not requests; the next line that is read says how many (`lines.lost`). Characters
    that steer a terminal are written as escapes, so that no name can forge a line. A line that
    repeats (same event, same words; numbers may differ) is written `BURST` times per window, then
    counted; the count is told by `lines.suppressed`, which is as severe as the line.
Assumes
    Each process calls `configure` once after its start, also after a fork.
Owner
    The process; there is one log per process. It owns nothing: the descriptor stays its caller's.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import msgspec
import orjson

from mpserve.model.log_switches import LogFormat, LogLevel, LogSwitches, written_levels
from mpserve.telemetry.outlet import STANDARD_ERROR, STDERR_FD, Outlet

BURST: Final = 10  # enough to see each model of a small repository fail with the same words
WINDOW_NS: Final = 10_000_000_000  # ten seconds: an operator who looks sees that it goes on
MAX_KEYS: Final = 1024  # a bound for memory; the oldest key is forgotten first

_COLOURS: Final = {LogLevel.WARNING: "\x1b[33m", LogLevel.ERROR: "\x1b[31m"}
_LETTERS: Final = {
    LogLevel.DEBUG: "D",
    LogLevel.INFO: "I",
    LogLevel.WARNING: "W",
    LogLevel.ERROR: "E",
}
_NEEDS_QUOTES: Final = re.compile(r"[ =\"'\\\t]")
_STEERS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What is no newline and moves a cursor, changes a terminal, ends a line or turns its direction."""


class RepetitionKey(NamedTuple):
    """What lines that repeat have in common."""

    level: LogLevel
    words: str


class Repetition:
    """Counts equal lines in windows of time. Pure: the clock is an argument."""

    def __init__(self) -> None:
        # key -> [start of the window, lines in it]
        self._windows: dict[RepetitionKey, list[int]] = {}

    def admits(self, key: RepetitionKey, *, now_ns: int) -> bool:
        """Return whether the line of `key` may be written now, and count it."""
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MAX_KEYS:
                del self._windows[next(iter(self._windows))]
            self._windows[key] = [now_ns, 1]
            return True
        window[1] += 1
        return window[1] <= BURST

    def take_ended(self, *, now_ns: int) -> list[tuple[RepetitionKey, int]]:
        """Forget the windows that ended; return (key, lines left out) where any were."""
        left_out: list[tuple[RepetitionKey, int]] = []
        while self._windows:
            key, (start_ns, lines) = next(iter(self._windows.items()))  # the oldest
            if now_ns - start_ns < WINDOW_NS:
                break
            del self._windows[key]
            if lines > BURST:
                left_out.append((key, lines - BURST))
        return left_out


class Sink(Protocol):
    """Where events go."""

    def writes(self, level: LogLevel) -> bool:
        """Return whether events of `level` are written."""
        ...

    def switch(self, switches: LogSwitches) -> None:
        """Write what `switches` say from now on."""

    def write(self, level: LogLevel, event: str, fields: Mapping[str, object]) -> None:
        """Write an event; never raises."""


class Lines:
    """Writes events to a descriptor in one format."""

    def __init__(self, switches: LogSwitches, *, role: str, fd: int) -> None:
        self._role = role
        self._outlet = STANDARD_ERROR if fd == STDERR_FD else Outlet(fd)
        self._is_terminal = os.isatty(fd)
        self.switch(switches)

    def writes(self, level: LogLevel) -> bool:
        """Return whether events of `level` are written."""
        return level in self._written

    def switch(self, switches: LogSwitches) -> None:
        """Write what `switches` say from now on."""
        self._format = LogFormat(switches.log_format)
        self._colours = self._is_terminal and self._format is LogFormat.DEFAULT
        self._written = written_levels(switches)

    def write(self, level: LogLevel, event: str, fields: Mapping[str, object]) -> None:
        """Write one event, after what was lost before it."""
        if lost := self._outlet.take_lost_lines():
            self._outlet.write(self._line(LogLevel.WARNING, "lines.lost", {"count": lost}))
        self._outlet.write(self._line(level, event, fields))

    def _line(self, level: LogLevel, event: str, fields: Mapping[str, object]) -> bytes:
        at_unix_ns = time.time_ns()
        if self._format is LogFormat.JSON:
            line = json_line(level, event, fields, role=self._role, at_unix_ns=at_unix_ns)
        else:
            stamp = (
                utc_stamp(at_unix_ns)
                if self._format is LogFormat.ISO8601
                else local_stamp(at_unix_ns)
            )
            colour = _COLOURS.get(level, "") if self._colours else ""
            text = text_line(level, event, fields, role=self._role, stamp=stamp)
            line = f"{colour}{text}\x1b[0m\n" if colour else f"{text}\n"
        return line.encode("utf-8", "replace")


class Log:
    """Events of one process on their way to a sink: standard error's, unless it is diverted."""

    def __init__(self, switches: LogSwitches, *, role: str, fd: int = STDERR_FD) -> None:
        self._sink: Sink = Lines(switches, role=role, fd=fd)
        self._repetition = Repetition()

    def writes(self, level: LogLevel) -> bool:
        """Return whether events of `level` are written, to spare costly fields."""
        return self._sink.writes(level)

    def switch(self, switches: LogSwitches) -> None:
        """Write what `switches` say from now on."""
        self._sink.switch(switches)

    def divert(self, make: Callable[[Sink], Sink]) -> None:
        """Write to another sink from now on, made from the present one."""
        self._sink = make(self._sink)

    def emit(self, level: LogLevel, event: str, fields: Mapping[str, object]) -> None:
        """Write one event if its level is written and it did not repeat too often."""
        if not self.writes(level):
            return
        now_ns = time.monotonic_ns()
        for key, left_out in self._repetition.take_ended(now_ns=now_ns):
            if self.writes(key.level):
                fields_of_key = {"line": key.words, "count": left_out}
                self._sink.write(key.level, "lines.suppressed", fields_of_key)
        if self._repetition.admits(repetition_key(level, event, fields), now_ns=now_ns):
            self._sink.write(level, event, fields)


def repetition_key(level: LogLevel, event: str, fields: Mapping[str, object]) -> RepetitionKey:
    """Return what two lines must share to count as the same: level, event and words."""
    words = [f"{key}={text}" for key, text in fields.items() if isinstance(text, str)]
    return RepetitionKey(level, " ".join([event, *words]))


def json_line(
    level: LogLevel, event: str, fields: Mapping[str, object], *, role: str, at_unix_ns: int
) -> str:
    """Return the event as one JSON object and a newline."""
    line = {
        "at": utc_stamp(at_unix_ns),
        "level": level.value,
        "event": event,
        "process": role,
        "pid": os.getpid(),
        **fields,
    }
    try:
        encoded = orjson.dumps(line, default=str)
    except orjson.JSONEncodeError:  # a lone surrogate or an integer beyond 64 bits
        encoded = orjson.dumps({key: _clean(value) for key, value in line.items()})
    return encoded.decode() + "\n"


def text_line(
    level: LogLevel, event: str, fields: Mapping[str, object], *, role: str, stamp: str
) -> str:
    """Return the event for a person: `key=value` on one line, texts of several lines below it."""
    return f"{stamp} {_LETTERS[level]} {role}[{os.getpid()}] {event_text(event, fields)}"


def event_text(event: str, fields: Mapping[str, object]) -> str:
    """Return what a text line says besides when, who and how severe."""
    short: list[str] = []
    blocks: list[str] = []
    for key, value in fields.items():
        text = _STEERS.sub(_escape, str(value))
        if "\n" in text:
            blocks.append(f"\n  {key}:\n    " + text.rstrip("\n").replace("\n", "\n    "))
        else:
            short.append(f" {key}={_quoted(text)}")
    return event + "".join(short) + "".join(blocks)


def local_stamp(at_unix_ns: int) -> str:
    """Return local wall time to the millisecond: `2025-01-31 13:04:05.006`."""
    seconds, rest_ns = divmod(at_unix_ns, 1_000_000_000)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    return f"{moment}.{rest_ns // 1_000_000:03d}"


def utc_stamp(at_unix_ns: int) -> str:
    """Return UTC in ISO 8601 form to the millisecond: `2025-01-31T13:04:05.006Z`."""
    seconds, rest_ns = divmod(at_unix_ns, 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{rest_ns // 1_000_000:03d}Z"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _clean(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _quoted(text: str) -> str:
    if text and not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_current = Log(LogSwitches(), role="mpserve")


def configure(switches: LogSwitches, *, role: str) -> None:
    """Set up the log of this process.

    Parameters
    ----------
    role
        Which process this is, e.g. `supervisor`, `frontend-0`, `worker:simple:1:0`.
    """
    global _current  # noqa: PLW0603  # one log per process, set once at its start
    _current = Log(switches, role=role)


def switch(switches: LogSwitches) -> None:
    """Let this process write what `switches` say from now on."""
    _current.switch(switches)


def divert(make: Callable[[Sink], Sink]) -> None:
    """Let the events of this process go to another sink, made from the present one."""
    _current.divert(make)


def described(switches: LogSwitches) -> dict[str, object]:
    """Return switches as the fields of an event."""
    return msgspec.structs.asdict(switches)


def is_debug() -> bool:
    """Return whether debug lines are written, to spare the cost of making them."""
    return _current.writes(LogLevel.DEBUG)


def debug(event: str, /, **fields: object) -> None:
    """Log what only a developer needs."""
    _current.emit(LogLevel.DEBUG, event, fields)


def info(event: str, /, **fields: object) -> None:
    """Log a change of state."""
    _current.emit(LogLevel.INFO, event, fields)


def warning(event: str, /, **fields: object) -> None:
    """Log that something is degraded but serves."""
    _current.emit(LogLevel.WARNING, event, fields)


def error(event: str, /, **fields: object) -> None:
    """Log that someone must act."""
    _current.emit(LogLevel.ERROR, event, fields)
