"""Which CPUs an instance runs on, and how many threads its libraries may use. Pure.

Source: Triton's host policies (`--host-policy=<policy>,cpu-cores=<lowest>-<highest>`); an instance
group names one, else those of CPU instances have the policy `cpu`.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from mpserve.errors import LoadError
from mpserve.model.config import ModelConfig

THREADS_PARAMETER: Final = "MPSERVE_THREADS"
DEFAULT_POLICY: Final = "cpu"
_CORES: Final = "cpu-cores="


class CpuShare(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance may use.

    Attributes
    ----------
    cpus
        CPUs that it is bound to; empty for none.
    threads
        Threads of numerical libraries for one call.
    """

    cpus: tuple[int, ...] = ()
    threads: int = 1


def told_threads(config: ModelConfig) -> int:
    """Return what the parameter of a model says; 0 where it has none.

    Raises
    ------
    LoadError
        It is no positive number.
    """
    text = config.parameters.get(THREADS_PARAMETER, "")
    if text and (not text.isdecimal() or not int(text)):
        raise LoadError(
            f"parameter '{THREADS_PARAMETER}' is '{text}'; a number of threads, at least 1, is "
            "needed"
        )
    return int(text or 0)


def cpu_share(
    *, policies: Iterable[str], policy: str, threads: int, cpu_count: int, instances: int
) -> CpuShare:
    """Return the share of one instance.

    Parameters
    ----------
    policies
        `<policy>,<setting>=<value>` each, as the command line has them; the last one counts.
    policy
        Name of the instance's policy, "" for the default.
    threads
        What the model says (`told_threads`), 0 for nothing.
    cpu_count, instances
        CPUs of the server, and instances of the model version, which share them.
    """
    cpus = bound_cpus(policies, name=policy or DEFAULT_POLICY)
    return CpuShare(
        cpus=cpus, threads=threads or max(1, (len(cpus) or cpu_count) // max(instances, 1))
    )


def bound_cpus(policies: Iterable[str], *, name: str) -> tuple[int, ...]:
    """Return the CPUs that a host policy binds to; empty when it binds to none."""
    start = f"{name},{_CORES}"
    ranges = [text.removeprefix(start) for text in policies if text.startswith(start)]
    if not ranges:
        return ()
    lowest, _, highest = ranges[-1].partition("-")
    return tuple(range(int(lowest), int(highest) + 1))
