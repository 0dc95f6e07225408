"""What a server may leave behind, and its removal: living processes and segments in shared memory.

A started server stands in a ledger until it is gone, so that the next run can end what a killed
harness could not.

Owner
-----
Only processes of trees that a harness of this work tree started are signalled, each named by pid
and start time. Only segments that such a process had mapped, and that nobody has mapped now, are
removed.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.measuring.cpu import ProcessEntry, members, process_table
from bench.workshop import WORKSHOP

LEDGER: Final = WORKSHOP / "running"
SHM: Final = Path("/dev/shm")  # where the kernel keeps POSIX shared memory
KILL_TIMEOUT_S: Final = 5
TRACKER: Final = "resource_tracker"  # multiprocessing's: it cleans up when all others are gone
_POLL_S: Final = 0.01


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A server that was started: its first process, and what its tree was seen to have mapped."""

    root_pid: int
    started_ticks: int
    segments: frozenset[str] = frozenset()


def enter(started: Started) -> None:
    """Write a server into the ledger, in place of what stood there."""
    LEDGER.mkdir(parents=True, exist_ok=True)
    (LEDGER / str(started.root_pid)).write_bytes(msgspec.json.encode(started))


def strike(root_pid: int) -> None:
    """Take a server that is gone out of the ledger."""
    (LEDGER / str(root_pid)).unlink(missing_ok=True)


def sweep(tell: Callable[[str], None]) -> None:
    """End what a killed run left running. Call it with the workshop's lock held."""
    for path in sorted(LEDGER.glob("*")):
        with contextlib.suppress(msgspec.MsgspecError):
            started = msgspec.json.decode(path.read_bytes(), type=Started)
            tree = living(started, ())
            segments = started.segments | mapped_by(tree)
            killed = kill(started, tree)
            removed = remove_segments(segments)
            if killed or removed:
                counts = f"processes {len(killed)}, segments {len(removed)}"
                tell(f"left by a killed run, now removed: {counts}")
        path.unlink(missing_ok=True)


def living(started: Started, known: Iterable[ProcessEntry]) -> tuple[ProcessEntry, ...]:
    """Processes of a tree that still run: those `known` from before, and those that came since."""
    table = tuple(process_table())
    names = {(entry.pid, entry.started_ticks) for entry in known}
    root = next((entry for entry in table if entry.pid == started.root_pid), None)
    is_reused = root is not None and root.started_ticks != started.started_ticks
    tree = () if is_reused else members(table, root_pid=started.root_pid)
    current = {entry.pid for entry in tree}
    return tuple(
        entry
        for entry in table
        if not entry.is_zombie
        and ((entry.pid, entry.started_ticks) in names or entry.pid in current)
    )


def kill(started: Started, known: Sequence[ProcessEntry]) -> tuple[str, ...]:
    """Kill what still runs of a tree, resource trackers last; returns their command lines."""
    killed: list[str] = []
    for spared in (TRACKER, None):
        for entry in living(started, known):
            title = _title(entry.pid)
            if spared is None or spared not in title:
                killed.append(title)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGKILL)
        if killed:
            wait_for_end(started, known, seconds=KILL_TIMEOUT_S)
    return tuple(killed)


def wait_for_end(started: Started, known: Sequence[ProcessEntry], *, seconds: float) -> None:
    """Wait until nothing of a tree runs, or the time is up."""
    deadline_ns = time.monotonic_ns() + int(seconds * 1e9)
    while time.monotonic_ns() < deadline_ns and living(started, known):
        time.sleep(_POLL_S)


def mapped_by(tree: Iterable[ProcessEntry]) -> frozenset[str]:
    """Names in `/dev/shm` that the processes have mapped now."""
    return frozenset(name for entry in tree for name in _mapped_segments(entry.pid))


def remove_segments(names: Iterable[str]) -> tuple[str, ...]:
    """Remove the segments among `names` that still exist and that no living process has mapped."""
    left = {name for name in names if (SHM / name).exists()}
    if left:
        left -= mapped_by(process_table())
    for name in left:
        (SHM / name).unlink(missing_ok=True)
    return tuple(sorted(left))


def _mapped_segments(pid: int) -> frozenset[str]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    paths = (
        line.split(maxsplit=5)[5]
        for line in lines
        if f" {SHM}/" in line and not line.endswith("(deleted)")
    )
    return frozenset(Path(path).name for path in paths)


def _title(pid: int) -> str:
    try:
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return str(pid)
    return command_line.replace(b"\0", b" ").decode(errors="replace").strip()[:120]
