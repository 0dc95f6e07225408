"""The machine a run was made on: facts for the results, and how busy everything else kept it."""

import os
import platform
import time
from pathlib import Path
from typing import Final

import msgspec

TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be the same for two results to be compared."""

    cpu_model: str
    cores: int
    memory_bytes: int
    is_virtual: bool
    kernel: str
    python: str
    measured_at: str  # UTC, ISO 8601
    load_average_1m: float


class MachineReading(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time that the machine worked, and that its host took away, since boot."""

    at_ns: int
    busy_ns: int
    stolen_ns: int


def read_facts() -> MachineFacts:
    """Read the facts of this machine; it is named by its hardware, not by its host name."""
    cpu = Path("/proc/cpuinfo").read_text()
    return MachineFacts(
        cpu_model=_field(cpu, "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        is_virtual="hypervisor" in _field(cpu, "flags").split(),
        kernel=platform.release(),
        python=platform.python_version(),
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        load_average_1m=os.getloadavg()[0],
    )


def read_machine() -> MachineReading:
    """Read the machine's CPU counters. They are sampled at clock ticks: good over seconds, not
    below.
    """
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _iowait, irq, softirq, stolen = (
        int(field) for field in line.split()[1:9]
    )
    return MachineReading(
        at_ns=time.monotonic_ns(),
        busy_ns=(user + nice + system + irq + softirq) * TICK_NS,
        stolen_ns=stolen * TICK_NS,
    )


def foreign_share(
    before: MachineReading, after: MachineReading, *, own_cpu_ns: int, cores: int
) -> float:
    """Share of the machine, 0 to 1, that neither the server nor the load generator used but
    somebody else did.

    Parameters
    ----------
    before, after
        Readings around the window.
    own_cpu_ns
        CPU time of the server's tree, the load generator and the harness in the window.
    cores
        Cores of the machine.
    """
    elapsed_ns = after.at_ns - before.at_ns
    if elapsed_ns <= 0:
        return 0.0
    taken_ns = (after.busy_ns - before.busy_ns) + (after.stolen_ns - before.stolen_ns) - own_cpu_ns
    return min(1.0, max(0.0, taken_ns / (elapsed_ns * cores)))


def _field(text: str, name: str) -> str:
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
