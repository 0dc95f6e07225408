"""How busy the machine is: processor and memory, from `/proc`.

Parsing is pure; `MachineGauge` alone reads, and no more often than it was told.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

_STAT: Final = Path("/proc/stat")
_MEMINFO: Final = Path("/proc/meminfo")
_STATM: Final = "statm"
_PROC: Final = Path("/proc")
_KIB: Final = 1024
_IDLE_COLUMNS: Final = (3, 4)  # idle, iowait
_COUNTED_COLUMNS: Final = 8  # guest time is part of user time


class ProcessorTime(msgspec.Struct, frozen=True, kw_only=True):
    """Clock ticks of all processors since boot."""

    busy: int = 0
    total: int = 0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen at one moment.

    Attributes
    ----------
    processor_utilization
        0.0 to 1.0, since the look before.
    memory_used_bytes
        All that could not be had without swapping.
    """

    processor_utilization: float
    memory_total_bytes: int
    memory_used_bytes: int


def read_processor_time(text: str) -> ProcessorTime:
    """Return the first line of `/proc/stat` in two numbers."""
    ticks = [int(field) for field in text.split("\n", 1)[0].split()[1 : 1 + _COUNTED_COLUMNS]]
    idle = sum(ticks[column] for column in _IDLE_COLUMNS)
    return ProcessorTime(busy=sum(ticks) - idle, total=sum(ticks))


def read_memory(text: str) -> Mapping[str, int]:
    """Return the members of `/proc/meminfo` in bytes."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].removesuffix(":"): int(row[1]) * _KIB for row in rows}


def utilization(before: ProcessorTime, after: ProcessorTime) -> float:
    """Return the share of busy time between two looks; 0 when no tick passed."""
    ticks = after.total - before.total
    return min(max((after.busy - before.busy) / ticks, 0.0), 1.0) if ticks > 0 else 0.0


class MachineGauge:
    """Looks at the machine at most once in an interval.

    Parameters
    ----------
    interval_ns
        Triton's `--metrics-interval-ms`.
    """

    def __init__(self, *, interval_ns: int, now_ns: Callable[[], int]) -> None:
        self._interval_ns = interval_ns
        self._now_ns = now_ns
        self._time = read_processor_time(_STAT.read_text())
        self._looked_ns = now_ns()
        self._seen: Machine | None = None

    def look(self) -> Machine:
        """Return what was seen last, or now when that is long ago."""
        now_ns = self._now_ns()
        if self._seen is None or now_ns - self._looked_ns >= self._interval_ns:
            self._seen = self._look()
            self._looked_ns = now_ns
        return self._seen

    def _look(self) -> Machine:
        before, self._time = self._time, read_processor_time(_STAT.read_text())
        memory = read_memory(_MEMINFO.read_text())
        return Machine(
            processor_utilization=utilization(before, self._time),
            memory_total_bytes=memory["MemTotal"],
            memory_used_bytes=memory["MemTotal"] - memory["MemAvailable"],
        )


def resident_bytes(pid: int, *, page_bytes: int) -> int | None:
    """Return the memory that a process holds; `None` when it is gone."""
    try:
        text = (_PROC / str(pid) / _STATM).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.split()[1]) * page_bytes
