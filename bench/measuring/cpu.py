"""What a process tree has used: CPU time, memory and context switches, read before and after a
window.

Guarantees
----------
- CPU is that of every thread, ended ones too, in nanoseconds: the kernel's CPU clock of the whole
  thread group (`clock_getcpuclockid(3)`), the same quantity that `/proc/PID/stat` rounds down to 10
  ms twice, for user and system.
- The tree is the root, its descendants, and everything in its session, so that a child whose parent
  died still counts.
- A child that was born and reaped inside the window counts through its parent's `cutime + cstime`
  (10 ms steps).

Assumes
-------
- The root leads its own session. A descendant that makes its own session *and* loses its parent is
  not seen.
- Children are waited for by their parents: the kernel forgets the time of a child whose parent
  ignores SIGCHLD.
- Loopback: the kernel handles a packet in the context of its sender, so the server pays for the
  client's receive path and the client for the server's, for every server alike.

Source: `proc(5)`, `clock_getcpuclockid(3)`; the clock id's form is `MAKE_PROCESS_CPUCLOCK` of
`linux/posix-timers_types.h`.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

PROC: Final = Path("/proc")
TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
ENDED: Final = "ended"  # role of children that were reaped inside the window
OTHER: Final = "other"  # role of processes that no pattern names
_CPUCLOCK_SCHED: Final = 2  # exact run time, not the sampled user/system split


class RolePattern(msgspec.Struct, frozen=True, kw_only=True):
    """A process whose `[name] command line` contains `text` plays `role`; first match."""

    text: str
    role: str


class ProcessEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the process table. `(pid, started_ticks)` names a process for ever; a pid alone
    does not. It is a zombie when no thread runs any more; its first thread may end earlier.
    """

    pid: int
    name: str  # at most 15 bytes; a process may give itself another
    parent_pid: int
    session_id: int
    started_ticks: int
    is_zombie: bool
    threads: int
    own_ticks: int
    reaped_ticks: int


class ProcessReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one process has used since it started."""

    pid: int
    started_ticks: int
    role: str
    threads: int
    cpu_ns: int
    reaped_cpu_ns: int
    voluntary_switches: int
    involuntary_switches: int
    pss_bytes: int


class TreeReading(msgspec.Struct, frozen=True, kw_only=True):
    """All processes of one server at one moment of the monotonic clock."""

    at_ns: int
    processes: tuple[ProcessReading, ...]


class TreeUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a tree used between two readings; memory, threads and processes are those of the second
    reading.
    """

    elapsed_ns: int
    cpu_ns: int
    cpu_ns_by_role: dict[str, int]
    voluntary_switches: int
    involuntary_switches: int
    pss_bytes: int
    pss_bytes_before: int
    pss_bytes_by_role: dict[str, int]
    processes: int
    threads: int
    processes_born: int
    processes_ended: int


def parse_stat(line: str) -> ProcessEntry:
    """Read one `/proc/PID/stat` line; the command name may hold spaces and parentheses.

    Raises
    ------
    ValueError
        The line has no command in parentheses or too few fields.
    """
    head, closing, tail = line.rpartition(")")
    fields = tail.split()
    if not closing or len(fields) < 20:
        raise ValueError(f"not a line of /proc/PID/stat: {line[:80]!r}")
    return ProcessEntry(
        pid=int(head.split(" (", 1)[0]),
        name=head.split(" (", 1)[1],
        is_zombie=fields[0] in {"Z", "X"} and int(fields[17]) <= 1,
        parent_pid=int(fields[1]),
        session_id=int(fields[3]),
        own_ticks=int(fields[11]) + int(fields[12]),
        reaped_ticks=int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
        started_ticks=int(fields[19]),
    )


def members(table: Iterable[ProcessEntry], *, root_pid: int) -> tuple[ProcessEntry, ...]:
    """Pick the root, its descendants and its session out of a process table, by pid."""
    by_pid = {entry.pid: entry for entry in table}
    found: set[int] = set()
    frontier = {pid for pid, entry in by_pid.items() if root_pid in {pid, entry.session_id}}
    while frontier:
        found |= frontier
        frontier = {pid for pid, entry in by_pid.items() if entry.parent_pid in frontier} - found
    return tuple(by_pid[pid] for pid in sorted(found))


def process_table() -> Iterator[ProcessEntry]:
    """Every process that this user can see now."""
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                yield parse_stat((folder / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended since the listing


def tree_entries(root_pid: int) -> tuple[ProcessEntry, ...]:
    """The processes of the tree now, zombies included."""
    return members(process_table(), root_pid=root_pid)


def read_tree(root_pid: int, roles: Sequence[RolePattern] = ()) -> TreeReading:
    """Read what every process of the tree has used so far.

    Parameters
    ----------
    root_pid
        The first process, leader of its own session.
    roles
        Patterns that name what a process does, most specific first.
    """
    entries = tree_entries(root_pid)
    at_ns = time.monotonic_ns()
    clocks = [
        (entry, _cpu_ns(entry)) for entry in entries
    ]  # all clocks first: the rest takes milliseconds
    readings = (
        _read_process(entry, cpu_ns, roles) for entry, cpu_ns in clocks if cpu_ns is not None
    )
    return TreeReading(
        at_ns=at_ns, processes=tuple(reading for reading in readings if reading is not None)
    )


def read_tree_before(root_pid: int, roles: Sequence[RolePattern] = ()) -> TreeReading:
    """As `read_tree`, but the clocks come last: a window begins that must not hold the reading.

    That of a thousand processes takes seconds, in which idle ones use CPU, too.
    """
    reading = read_tree(root_pid, roles)
    at_ns = time.monotonic_ns()
    return TreeReading(
        at_ns=at_ns, processes=tuple(_at_this_moment(process) for process in reading.processes)
    )


def usage_between(before: TreeReading, after: TreeReading) -> TreeUsage:
    """Subtract two readings of one tree.

    Notes
    -----
    A process in both readings counts its difference, a new one all of its time. A process that is
    gone was reaped by a survivor, whose `reaped` time grew by that child's whole life; what the
    child had used before the window is taken off.
    """
    earlier = {(reading.pid, reading.started_ticks): reading for reading in before.processes}
    cpu: dict[str, int] = {}
    reaped_ns = voluntary = involuntary = born = 0
    for reading in after.processes:
        start = earlier.pop((reading.pid, reading.started_ticks), None)
        born += start is None
        cpu[reading.role] = (
            cpu.get(reading.role, 0) + reading.cpu_ns - (start.cpu_ns if start else 0)
        )
        reaped_ns += reading.reaped_cpu_ns - (start.reaped_cpu_ns if start else 0)
        voluntary += reading.voluntary_switches - (start.voluntary_switches if start else 0)
        involuntary += reading.involuntary_switches - (start.involuntary_switches if start else 0)
    reaped_ns -= sum(gone.cpu_ns + gone.reaped_cpu_ns for gone in earlier.values())
    if reaped_ns > 0:
        cpu[ENDED] = reaped_ns
    return TreeUsage(
        elapsed_ns=after.at_ns - before.at_ns,
        cpu_ns=sum(cpu.values()),
        cpu_ns_by_role=cpu,
        voluntary_switches=max(0, voluntary),
        involuntary_switches=max(0, involuntary),
        pss_bytes=sum(reading.pss_bytes for reading in after.processes),
        pss_bytes_before=sum(reading.pss_bytes for reading in before.processes),
        pss_bytes_by_role=_pss_by_role(after.processes),
        processes=len(after.processes),
        threads=sum(reading.threads for reading in after.processes),
        processes_born=born,
        processes_ended=len(earlier),
    )


def role_of(command_line: str, roles: Sequence[RolePattern]) -> str:
    """Name what a process does by its `[name] command line`."""
    return next((pattern.role for pattern in roles if pattern.text in command_line), OTHER)


def cpu_clock_ns(pid: int) -> int:
    """CPU time of all threads of `pid`, ended ones included, in nanoseconds.

    Raises
    ------
    ProcessLookupError
        There is no such process.
    """
    try:
        return time.clock_gettime_ns(((~pid) << 3) | _CPUCLOCK_SCHED)
    except OSError as error:
        raise ProcessLookupError(f"process {pid} has no CPU clock: {error}") from error


def _cpu_ns(entry: ProcessEntry) -> int | None:
    """None when the process has ended since the listing: its parent's reaped time has it."""
    if entry.is_zombie:
        return entry.own_ticks * TICK_NS
    try:
        return cpu_clock_ns(entry.pid)
    except ProcessLookupError:
        return None


def _at_this_moment(process: ProcessReading) -> ProcessReading:
    """The same with a new look at its clock; as it was when it has ended meanwhile."""
    try:
        return msgspec.structs.replace(process, cpu_ns=cpu_clock_ns(process.pid))
    except ProcessLookupError:
        return process


def _read_process(
    entry: ProcessEntry, cpu_ns: int, roles: Sequence[RolePattern]
) -> ProcessReading | None:
    folder = PROC / str(entry.pid)
    try:
        command_line = _command_line(folder)
        voluntary, involuntary = _context_switches(folder)
        pss_bytes = _pss_bytes(folder)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ProcessReading(
        pid=entry.pid,
        started_ticks=entry.started_ticks,
        role=role_of(f"[{entry.name}] {command_line}", roles),
        threads=entry.threads,
        cpu_ns=cpu_ns,
        reaped_cpu_ns=entry.reaped_ticks * TICK_NS,
        voluntary_switches=voluntary,
        involuntary_switches=involuntary,
        pss_bytes=pss_bytes,
    )


def _command_line(folder: Path) -> str:
    return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _context_switches(folder: Path) -> tuple[int, int]:
    """Sum over living threads; `/proc/PID/status` alone tells only of the main thread."""
    voluntary = involuntary = 0
    for status in (folder / "task").glob("*/status"):
        try:
            fields = _fields(status.read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
        voluntary += int(fields.get("voluntary_ctxt_switches", "0"))
        involuntary += int(fields.get("nonvoluntary_ctxt_switches", "0"))
    return voluntary, involuntary


def _pss_bytes(folder: Path) -> int:
    """Memory with shared pages divided among those who share them; 0 where the kernel or the rights
    do not tell.
    """
    try:
        return (
            int(_fields((folder / "smaps_rollup").read_text()).get("Pss", "0 kB").split()[0]) * 1024
        )
    except OSError:
        return 0


def _fields(text: str) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _pss_by_role(processes: Iterable[ProcessReading]) -> dict[str, int]:
    pss: dict[str, int] = {}
    for reading in processes:
        pss[reading.role] = pss.get(reading.role, 0) + reading.pss_bytes
    return pss
