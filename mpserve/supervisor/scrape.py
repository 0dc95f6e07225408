"""One scrape of the metrics: the server as it is now, as a page of text."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

import orjson

from mpserve.dialect import DialectName
from mpserve.lifecycle.actual import Actual, GenerationRecord, InstanceRecord, version_order
from mpserve.lifecycle.transitions import Phase
from mpserve.model.identity import VersionKey
from mpserve.settings import Settings
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.traffic_board import TrafficBoard
from mpserve.supervisor.frontends import Frontends
from mpserve.supervisor.ledger import Ledger
from mpserve.supervisor.workers import Workers
from mpserve.telemetry.exposition import (
    PROMETHEUS_CPP,
    PROMETHEUS_PYTHON,
    Family,
    PageForm,
    exposition,
)
from mpserve.telemetry.families import MetricsChoice, families
from mpserve.telemetry.latencies import LatencyWindow
from mpserve.telemetry.machine import MachineGauge, resident_bytes
from mpserve.telemetry.model_metrics import exposed
from mpserve.telemetry.own_process import own_process_families
from mpserve.telemetry.snapshot import FrontendView, InstanceView, Snapshot, VersionView
from mpserve.telemetry.traffic import traffic_families

_NS_PER_MS: Final = 1_000_000
_REMEMBERED_CONFIGS: Final = 256

OWN_FAMILIES: Final[Mapping[DialectName, Callable[[], Iterable[Family]]]] = {
    DialectName.TRITON: tuple,
    DialectName.MLSERVER: own_process_families,
}
"""What the peers tell of the process that answers scrapes."""


FORMS: Final[Mapping[DialectName, PageForm]] = {
    DialectName.TRITON: PROMETHEUS_CPP,
    DialectName.MLSERVER: PROMETHEUS_PYTHON,
}


class Scrape:
    """Makes the page. Reads shared memory and `/proc`, and asks workers whose models count.

    Parameters
    ----------
    actual
        Returns what is.
    traffic
        What clients asked, where that is told.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        actual: Callable[[], Actual],
        ledger: Ledger,
        workers: Workers,
        frontends: Frontends,
        rings: Sequence[CompletionRing],
        traffic: TrafficBoard | None,
        now_ns: Callable[[], int],
    ) -> None:
        self._actual = actual
        self._ledger = ledger
        self._workers = workers
        self._frontends = frontends
        self._rings = rings
        self._traffic = traffic
        self._http_prefix = settings.metrics_http_prefix
        self._own_families = OWN_FAMILIES[settings.dialect]
        self._choice = MetricsChoice(
            dialect=settings.dialect,
            counter_latencies=settings.metrics_counter_latencies,
            summary_quantiles=settings.metrics_summary_quantiles,
            histogram_latencies=settings.metrics_histogram_latencies,
        )
        self._form = FORMS[settings.dialect]
        self._window = LatencyWindow()
        self._now_ns = now_ns
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._machine = (
            MachineGauge(interval_ns=settings.metrics_interval_ms * _NS_PER_MS, now_ns=now_ns)
            if settings.allow_cpu_metrics
            else None
        )

    async def page(self) -> bytes:
        """Return the metrics as they are now, also those of models that answered just before."""
        await self._ledger.model_metrics.ask(self._workers.send)
        of_models = exposed(self._ledger.model_metrics.families())
        of_server = families(self._snapshot(), self._choice)
        page = chain(self._own_families(), of_server, self._wires(), of_models)
        return exposition(page, self._form)

    def _wires(self) -> Iterable[Family]:
        if self._traffic is None:
            return ()
        return traffic_families(self._traffic.read(), prefix=self._http_prefix)

    def _snapshot(self) -> Snapshot:
        serving = [
            record
            for model in self._actual().models.values()
            for record in model.generations
            if record.phase is Phase.SERVING
        ]
        serving.sort(key=lambda record: (record.name, version_order(record.version.version)))
        self._window.keep(
            VersionKey(name=record.name, version=record.version.version) for record in serving
        )
        return Snapshot(
            versions=tuple(self._version(record) for record in serving),
            loads=self._ledger.loads(),
            frontends=self._frontend_views(),
            machine=self._machine.look() if self._machine is not None else None,
            supervisor_bytes=self._resident(os.getpid()),
        )

    def _version(self, record: GenerationRecord) -> VersionView:
        key = VersionKey(name=record.name, version=record.version.version)
        views = (self._instance(instance) for instance in record.instances)
        counts = self._ledger.counts(key)
        summaries = counts.latencies.summaries
        return VersionView(
            model=key.name,
            version=key.version,
            tags=_metric_tags(record.config_json),
            counts=counts,
            recent_latencies=self._window.recent(key, summaries, now_ns=self._now_ns()),
            waiting=self._ledger.waiting(key),
            load_seconds=self._ledger.load_seconds(record.generation),
            restarts=self._ledger.restarts(key),
            instances=tuple(view for view in views if view is not None),
        )

    def _instance(self, instance: InstanceRecord) -> InstanceView | None:
        counts = self._ledger.instance_counts(instance.key)
        if counts is None:
            return None
        return InstanceView(
            index=instance.key.index,
            state=instance.phase.value,
            counts=counts,
            resident_bytes=self._resident(self._workers.pid(instance.key)),
        )

    def _frontend_views(self) -> tuple[FrontendView, ...]:
        return tuple(
            FrontendView(
                index=place.index,
                arena_used_bytes=self._rings[place.index].native.arena_used_bytes,
                arena_total_bytes=self._rings[place.index].native.arena_total_bytes,
                resident_bytes=self._resident(place.child.pid if place.child else None),
                restarts=max(place.starts - 1, 0),
            )
            for place in self._frontends.places
        )

    def _resident(self, pid: int | None) -> int:
        """Memory of a process; 0 when there is none."""
        found = resident_bytes(pid, page_bytes=self._page_bytes) if pid is not None else None
        return found or 0


@lru_cache(maxsize=_REMEMBERED_CONFIGS)
def _metric_tags(config_json: str) -> Mapping[str, str]:
    """Return the `metric_tags` of a model configuration; an MLServer model has none."""
    if not config_json:
        return {}
    tags: dict[str, str] = orjson.loads(config_json).get("metric_tags", {})
    return tags
