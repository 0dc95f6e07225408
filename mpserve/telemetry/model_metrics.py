"""Metrics that models keep themselves: recorded in a worker, told to the supervisor, merged there.

Guarantees
    What is told is all that a worker has counted since its start, so a message that is lost costs
    nothing. Merging adds counters and histograms up; of a gauge the latest value counts.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from mpserve.telemetry.exposition import Family, Kind, Sample

Labels = tuple[tuple[str, str], ...]  # sorted by name


class MetricSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One set of labels of a family.

    Attributes
    ----------
    value
        Of a counter or gauge; the sum of what a histogram observed.
    counts
        Observations of a histogram by bucket, not summed up; one more than there are bounds.
    """

    labels: Labels
    value: float
    counts: tuple[int, ...] = ()


class MetricFamily(msgspec.Struct, frozen=True, kw_only=True):
    """All series of one name.

    Attributes
    ----------
    bounds
        Upper bounds of a histogram's buckets, without infinity.
    """

    name: str
    kind: Kind
    help: str
    bounds: tuple[float, ...] = ()
    series: tuple[MetricSeries, ...] = ()


class _Record:
    """One series as it grows."""

    def __init__(self, labels: Labels, buckets: int) -> None:
        self.labels = labels
        self.value = 0.0
        self.counts = [0] * buckets

    def told(self) -> MetricSeries:
        return MetricSeries(labels=self.labels, value=self.value, counts=tuple(self.counts))


class RecordedFamily:
    """A family that a model of this process writes."""

    def __init__(
        self,
        *,
        name: str,
        kind: Kind,
        help_text: str,
        bounds: tuple[float, ...],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help_text
        self.bounds = bounds
        self._changed = changed
        self._buckets = len(bounds) + 1 if kind is Kind.HISTOGRAM else 0
        self._records: dict[Labels, _Record] = {}

    def observe(self, labels: Mapping[str, str], value: float) -> None:
        """Count one observation of a histogram."""
        record = self._record(labels)
        record.counts[bisect_left(self.bounds, value)] += 1
        record.value += value
        self._changed()

    def told(self) -> MetricFamily:
        """Return all that was recorded so far."""
        return MetricFamily(
            name=self.name,
            kind=self.kind,
            help=self.help,
            bounds=self.bounds,
            series=tuple(record.told() for record in list(self._records.values())),
        )

    def _record(self, labels: Mapping[str, str]) -> _Record:
        key = tuple(sorted(labels.items()))
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(key, self._buckets)
        return record


class MetricsRecorder:
    """All families that models of this process write.

    Attributes
    ----------
    on_change
        Called after each change, from any thread; the worker's.
    """

    def __init__(self) -> None:
        self._families: dict[str, RecordedFamily] = {}
        self.on_change: Callable[[], None] = lambda: None

    def histogram(self, name: str, help_text: str, bounds: tuple[float, ...]) -> RecordedFamily:
        """Return the histogram of this name, made on first use.

        Parameters
        ----------
        bounds
            Upper bounds of the buckets, ascending, without infinity.
        """
        known = self._families.get(name)
        if known is None:
            known = self._families[name] = RecordedFamily(
                name=name,
                kind=Kind.HISTOGRAM,
                help_text=help_text,
                bounds=bounds,
                changed=self._tell_change,
            )
        return known

    def told(self) -> tuple[MetricFamily, ...]:
        """Return all that was recorded so far."""
        return tuple(family.told() for family in list(self._families.values()))

    def _tell_change(self) -> None:
        self.on_change()


RECORDER: Final = MetricsRecorder()
"""This process's."""


def merged(told: Iterable[MetricFamily]) -> tuple[MetricFamily, ...]:
    """Return each family once; the first kind, help and bounds of a name hold."""
    families: dict[str, MetricFamily] = {}
    series: dict[str, dict[Labels, MetricSeries]] = {}
    for family in told:
        known = families.setdefault(family.name, family)
        if (known.kind, known.bounds) != (family.kind, family.bounds):
            continue  # two models mean different things by one name
        of_name = series.setdefault(family.name, {})
        for one in family.series:
            before = of_name.get(one.labels)
            of_name[one.labels] = one if before is None else _added(family.kind, before, one)
    return tuple(
        msgspec.structs.replace(family, series=tuple(series[name].values()))
        for name, family in families.items()
    )


def lasting(told: Iterable[MetricFamily]) -> tuple[MetricFamily, ...]:
    """Return what stays of a process that has ended: a gauge tells of something that is."""
    return tuple(family for family in told if family.kind is not Kind.GAUGE)


def exposed(families: Iterable[MetricFamily]) -> Iterator[Family]:
    """Return the families as a scrape shows them."""
    for family in families:
        yield Family(
            name=family.name,
            kind=family.kind,
            help=family.help,
            samples=tuple(sample for one in family.series for sample in _samples(family, one)),
        )


def _added(kind: Kind, before: MetricSeries, one: MetricSeries) -> MetricSeries:
    if kind is Kind.GAUGE:
        return one
    counts = tuple(sum(pair) for pair in zip(before.counts, one.counts, strict=True))
    return MetricSeries(labels=one.labels, value=before.value + one.value, counts=counts)


def _samples(family: MetricFamily, one: MetricSeries) -> Iterator[Sample]:
    labels = dict(one.labels)
    if family.kind is not Kind.HISTOGRAM:
        yield Sample(labels=labels, value=one.value)
        return
    seen = 0
    for bound, count in zip((*family.bounds, math.inf), one.counts, strict=True):
        seen += count
        place = "+Inf" if bound == math.inf else repr(float(bound))
        yield Sample(labels={**labels, "le": place}, value=seen, suffix="_bucket")
    yield Sample(labels=labels, value=seen, suffix="_count")
    yield Sample(labels=labels, value=one.value, suffix="_sum")
