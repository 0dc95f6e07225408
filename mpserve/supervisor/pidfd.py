"""Processes that are not our children, held so that a reused pid is never taken for them."""

import os
from pathlib import Path
from typing import Final

_START_FIELD: Final = 19  # of /proc/<pid>/stat, counted from behind the name; see proc(5)


def started_ticks(pid: int) -> int:
    """Return when a process was started, in ticks of the machine's clock; 0 when it is gone."""
    fields = _fields(pid)
    return int(fields[_START_FIELD]) if fields else 0


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped by a signal."""
    return _fields(pid)[:1] == ["T"]


def _fields(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` behind the name; none when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def living_pidfd(pid: int, ticks: int) -> int | None:
    """Return a pidfd of the process that was started then; `None` when it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if ticks and started_ticks(pid) == ticks:
        return pidfd
    os.close(pidfd)
    return None
