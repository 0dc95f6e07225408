"""A window of time, observed from both sides: what a server's tree used in it, and what everything
else did.
"""

import os
import resource
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

import msgspec

from bench.measuring.cpu import (
    RolePattern,
    TreeReading,
    TreeUsage,
    read_tree,
    read_tree_before,
    usage_between,
)
from bench.measuring.machine import MachineReading, foreign_share, read_machine


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What was used while something was done."""

    usage: TreeUsage
    harness_cpu_ns: int  # of the harness, and of the load generators that ended in the window
    foreign_share: float  # of the machine, 0 to 1, that went to none of us


class Observation:
    """An open window; `close` ends it."""

    def __init__(self, roles: Sequence[RolePattern], before: TreeReading) -> None:
        self._roles = roles
        self._before = before
        self._machine: MachineReading = read_machine()
        self._harness_cpu_ns = _harness_cpu_ns()

    @classmethod
    def of_running(cls, root_pid: int, roles: Sequence[RolePattern]) -> Self:
        """Open a window on a tree that runs."""
        return cls(roles, read_tree_before(root_pid, roles))

    @classmethod
    def of_start(cls, roles: Sequence[RolePattern]) -> Self:
        """Open a window on a tree that is not there yet: all it uses until the end counts."""
        return cls(roles, TreeReading(at_ns=time.monotonic_ns(), processes=()))

    def close(self, root_pid: int) -> Window:
        """Read the tree again and subtract."""
        after = read_tree(root_pid, self._roles)
        usage = usage_between(self._before, after)
        harness_cpu_ns = _harness_cpu_ns() - self._harness_cpu_ns
        share = foreign_share(
            self._machine,
            read_machine(),
            own_cpu_ns=usage.cpu_ns + harness_cpu_ns,
            cores=os.cpu_count() or 1,
        )
        return Window(usage=usage, harness_cpu_ns=harness_cpu_ns, foreign_share=share)


def merge(windows: Sequence[Window]) -> Window:
    """Sum windows of one kind; memory, threads and processes are those of the last one.

    Raises
    ------
    IndexError
        There is no window.
    """
    usages = [window.usage for window in windows]
    by_role: Counter[str] = Counter()
    for usage in usages:
        by_role.update(usage.cpu_ns_by_role)
    elapsed_ns = sum(usage.elapsed_ns for usage in usages)
    return Window(
        usage=msgspec.structs.replace(
            usages[-1],
            elapsed_ns=elapsed_ns,
            cpu_ns=sum(usage.cpu_ns for usage in usages),
            cpu_ns_by_role=dict(by_role),
            voluntary_switches=sum(usage.voluntary_switches for usage in usages),
            involuntary_switches=sum(usage.involuntary_switches for usage in usages),
        ),
        harness_cpu_ns=sum(window.harness_cpu_ns for window in windows),
        foreign_share=sum(window.foreign_share * window.usage.elapsed_ns for window in windows)
        / max(1, elapsed_ns),
    )


def _harness_cpu_ns() -> int:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + int((ended.ru_utime + ended.ru_stime) * 1e9)
