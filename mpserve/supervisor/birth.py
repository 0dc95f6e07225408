"""How a worker comes to be: a fork of the spawner, of a template, or a program of its own."""

import os
from collections.abc import Iterable

from mpserve.control.spawner_messages import Birth
from mpserve.errors import LoadError
from mpserve.lifecycle.actual import GenerationRecord
from mpserve.model.config import SHARE_WEIGHTS_PARAMETER
from mpserve.model.identity import Generation
from mpserve.scheduling.cpu_share import CpuShare, cpu_share, told_threads
from mpserve.scheduling.shared_weights import shares_weights
from mpserve.settings import Settings
from mpserve.supervisor.entrypoints import RUNTIME_PRELOAD
from mpserve.supervisor.processes import Child, Processes
from mpserve.supervisor.program import program_of


def cpu_share_of(record: GenerationRecord, settings: Settings, *, policy: str) -> CpuShare:
    """Return what an instance of `record` may use; raises `LoadError` for what is no number."""
    return cpu_share(
        policies=settings.host_policies,
        policy=policy,
        threads=told_threads(record.config),
        cpu_count=len(os.sched_getaffinity(0)),
        instances=len(record.instances),
    )


def birth_of(
    record: GenerationRecord, settings: Settings, threads: int, listeners: tuple[int, ...]
) -> Birth:
    """Return how a generation's workers are made.

    Parameters
    ----------
    listeners
        Descriptors of the frontends' sockets, which every child inherits.

    Raises
    ------
    LoadError
        They need a program that is not there, or that can not share what another one has loaded.
    """
    program = program_of(record, settings)
    is_shared = shares_weights(record.config)
    if is_shared and program is not None:
        raise LoadError(
            f"parameter '{SHARE_WEIGHTS_PARAMETER}': workers with an environment or an"
            " allocator of their own are no forks, and can not share what is loaded"
        )
    return Birth(
        program=program,
        threads=threads,
        template=record.generation if is_shared else 0,
        user=settings.worker_user,
        closes=listeners if settings.worker_user is not None else (),
        preload=RUNTIME_PRELOAD.get(record.settings.runtime, ()) if program is None else (),
    )


class TemplatesInUse:
    """Which generations are loaded once for all their instances."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._generations: set[Generation] = set()

    def begin(self, generation: Generation, birth: Birth) -> None:
        """Note that an instance was asked for."""
        if birth.template:
            self._generations.add(generation)

    def adopt(self, generations: Iterable[GenerationRecord]) -> None:
        """Take over those of an earlier supervisor."""
        for record in generations:
            try:
                is_shared = shares_weights(record.config)
            except LoadError:
                continue  # its load has failed, or will
            if is_shared:
                self._generations.add(record.generation)

    def end(self, generation: Generation) -> None:
        """End the template of a generation that is no more."""
        if generation in self._generations:
            self._generations.discard(generation)
            self._processes.end_template(generation)

    def end_loading(self, generation: Generation, child: Child) -> None:
        """End a template that still loads, for an instance that is not wanted any more."""
        if generation in self._generations and child.pid is None:
            self._processes.end_template(generation)
