"""What the Prometheus client for Python tells of the process that it is in; MLServer shows it.

Here it is the process that answers scrapes. Source: families, helps and labels of
`prometheus_client` 0.26 as seen running; proc(5).
"""

import gc
import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from mpserve.telemetry.exposition import Family, Kind, Sample

_STAT: Final = Path("/proc/self/stat")
_BOOT: Final = Path("/proc/stat")
_DESCRIPTORS: Final = Path("/proc/self/fd")
_BOOT_FIELD: Final = "btime "


class ProcessTimes(msgspec.Struct, frozen=True, kw_only=True):
    """What one line of `/proc/<pid>/stat` says; times in clock ticks, memory in bytes and pages."""

    processor_ticks: int
    started_ticks: int
    virtual_bytes: int
    resident_pages: int


def read_stat(text: str) -> ProcessTimes:
    """Read `/proc/<pid>/stat`, whose second field is a name that may hold anything."""
    fields = text.rpartition(")")[2].split()  # from the third field on
    return ProcessTimes(
        processor_ticks=int(fields[11]) + int(fields[12]),
        started_ticks=int(fields[19]),
        virtual_bytes=int(fields[20]),
        resident_pages=int(fields[21]),
    )


def read_boot_seconds(text: str) -> int:
    """Read from `/proc/stat` when the machine was started, in seconds since the epoch."""
    line = next(line for line in text.splitlines() if line.startswith(_BOOT_FIELD))
    return int(line.removeprefix(_BOOT_FIELD))


def own_process_families() -> Iterator[Family]:
    """Return `python_*` and `process_*` of this process."""
    yield from _collector_families()
    yield _gauge(
        "python_info",
        "Python platform information",
        1,
        implementation=platform.python_implementation(),
        major=str(sys.version_info.major),
        minor=str(sys.version_info.minor),
        patchlevel=str(sys.version_info.micro),
        version=platform.python_version(),
    )
    times = read_stat(_STAT.read_text())
    ticks = os.sysconf("SC_CLK_TCK")
    started = read_boot_seconds(_BOOT.read_text()) + times.started_ticks / ticks
    resident = times.resident_pages * os.sysconf("SC_PAGE_SIZE")
    yield _gauge(
        "process_virtual_memory_bytes", "Virtual memory size in bytes.", times.virtual_bytes
    )
    yield _gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident)
    yield _gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        started,
    )
    yield Family(
        name="process_cpu_seconds_total",
        kind=Kind.COUNTER,
        help="Total user and system CPU time spent in seconds.",
        samples=(Sample(value=times.processor_ticks / ticks),),
    )
    descriptors = sum(1 for _ in _DESCRIPTORS.iterdir())
    yield _gauge("process_open_fds", "Number of open file descriptors.", descriptors)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield _gauge("process_max_fds", "Maximum number of open file descriptors.", limit)


def _collector_families() -> Iterator[Family]:
    generations = gc.get_stats()
    for key, name, text in (
        ("collected", "python_gc_objects_collected_total", "Objects collected during gc"),
        (
            "uncollectable",
            "python_gc_objects_uncollectable_total",
            "Uncollectable objects found during GC",
        ),
        (
            "collections",
            "python_gc_collections_total",
            "Number of times this generation was collected",
        ),
    ):
        yield Family(
            name=name,
            kind=Kind.COUNTER,
            help=text,
            samples=tuple(
                Sample(labels={"generation": str(number)}, value=counts[key])
                for number, counts in enumerate(generations)
            ),
        )


def _gauge(name: str, text: str, value: float, **labels: str) -> Family:
    sample = Sample(labels=labels, value=value)
    return Family(name=name, kind=Kind.GAUGE, help=text, samples=(sample,))
