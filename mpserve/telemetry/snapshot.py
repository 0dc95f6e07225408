"""What a scrape of the metrics sees: the server at one moment, as values."""

from collections.abc import Mapping

import msgspec

from mpserve.telemetry.counters import InstanceCounts, ModelCounts
from mpserve.telemetry.latencies import LatencyCounts
from mpserve.telemetry.machine import Machine


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. `state` is the word of its phase; `resident_bytes` 0 without a process."""

    index: int
    state: str
    counts: InstanceCounts
    resident_bytes: int = 0


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One version that serves.

    Attributes
    ----------
    tags
        `metric_tags` of its configuration.
    counts
        Since it was first loaded, over all its generations.
    recent_latencies
        The part of its summaries of latencies that quantiles are of.
    waiting
        Requests that wait for an instance.
    load_seconds
        What its last load took.
    restarts
        Workers that were started again after they ended by themselves.
    """

    model: str
    version: str
    tags: Mapping[str, str] = {}
    counts: ModelCounts = ModelCounts()
    recent_latencies: tuple[LatencyCounts, ...] = ()
    waiting: int = 0
    load_seconds: float = 0.0
    restarts: int = 0
    instances: tuple[InstanceView, ...] = ()


class LoadCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Loads, reloads and unloads of one model, as far as they have ended."""

    model: str
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0


class FrontendView(msgspec.Struct, frozen=True, kw_only=True):
    """One frontend's place; `resident_bytes` 0 while nobody is in it.

    Attributes
    ----------
    arena_used_bytes, arena_total_bytes
        As told last, about once in a second.
    """

    index: int
    arena_used_bytes: int = 0
    arena_total_bytes: int = 0
    resident_bytes: int = 0
    restarts: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The server. `machine` is `None` when it is not wanted.

    Attributes
    ----------
    versions
        That serve, by name, then version.
    """

    versions: tuple[VersionView, ...] = ()
    loads: tuple[LoadCounts, ...] = ()
    frontends: tuple[FrontendView, ...] = ()
    machine: Machine | None = None
    supervisor_bytes: int = 0
