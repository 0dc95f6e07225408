"""Metrics that models keep themselves: recorded in a worker, told to the supervisor, merged there.

Guarantees
    What is told is all that a worker has counted since its start, so a message that is lost costs
    nothing. Merging adds counters and histograms up; of a gauge the latest value counts.
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from mpserve.telemetry.exposition import Family, Kind, Sample, histogram_samples

Labels = tuple[tuple[str, str], ...]  # sorted by name
MetricKey = Labels
_FAMILY_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_PREFIXES: Final = ("nv_", "mpserve_", "model_infer_", "rest_server_", "grpc_server_")


class MetricConflict(ValueError):
    """A metric can not be what the model wants it to be."""


def metric_key(labels: Mapping[object, object]) -> MetricKey:
    """Return labels as they name a series; raises `MetricConflict` for what is no label."""
    for name in labels:
        if _LABEL_NAME.fullmatch(str(name)) is None:
            raise MetricConflict(f"{name!r} is no name of a label: {_LABEL_NAME.pattern}")
    return tuple(sorted((str(name), str(text)) for name, text in labels.items()))


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
        self.holders = 0

    def told(self) -> MetricSeries:
        return MetricSeries(labels=self.labels, value=self.value, counts=tuple(self.counts))


class RecordedFamily:
    """A family that a model of this process writes. Its methods may be called from any thread.

    Attributes
    ----------
    holders
        Objects of the model that stand for it.
    """

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
        self._lock = threading.RLock()  # re-entered when memory is freed meanwhile
        self.holders = 0

    def observe(self, labels: Mapping[str, str], value: float) -> None:
        """Count one observation of a histogram."""
        with self._lock:
            record = self._record(labels)
            record.counts[bisect_left(self.bounds, value)] += 1
            record.value += value
        self._changed()

    def add(self, key: MetricKey, value: float) -> None:
        """Add to a counter or gauge."""
        with self._lock:
            self._record(dict(key)).value += value
        self._changed()

    def set(self, key: MetricKey, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._record(dict(key)).value = value
        self._changed()

    def value(self, key: MetricKey) -> float:
        """Return what this process has counted."""
        with self._lock:
            return self._record(dict(key)).value

    def hold(self, key: MetricKey) -> None:
        """Note one more object of the model that stands for a series; it begins at 0."""
        with self._lock:
            self._record(dict(key)).holders += 1
        self._changed()

    def release(self, key: MetricKey) -> None:
        """Note one less; a series without any is gone."""
        with self._lock:
            record = self._records.get(key)
            if record is not None:
                record.holders -= 1
                if record.holders <= 0:
                    del self._records[key]
        self._changed()

    def bound(self, bounds: tuple[float, ...]) -> None:
        """Set the buckets, or see that they are the same; raises `MetricConflict`."""
        with self._lock:
            if not self._records:
                self.bounds = bounds
                self._buckets = len(bounds) + 1 if self.kind is Kind.HISTOGRAM else 0
            elif bounds != self.bounds:
                raise MetricConflict(
                    f"the histogram '{self.name}' has the buckets {list(self.bounds)} already"
                )

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

    def family(self, name: str, kind: Kind, help_text: str) -> RecordedFamily:
        """Return the family of this name, made on first use, whose text it keeps.

        Raises
        ------
        MetricConflict
            The name is none, is the server's, or stands for another kind.
        """
        if _FAMILY_NAME.fullmatch(name) is None:
            raise MetricConflict(f"'{name}' is no name of a family: {_FAMILY_NAME.pattern}")
        if name.startswith(_OWN_PREFIXES):
            raise MetricConflict(f"'{name}' has a prefix of the server's own families")
        known = self._families.get(name)
        if known is None:
            known = self._families[name] = RecordedFamily(
                name=name, kind=kind, help_text=help_text, bounds=(), changed=self._tell_change
            )
        if known.kind is not kind:
            raise MetricConflict(f"'{name}' is a {known.kind.value} already")
        return known

    def remove(self, name: str) -> None:
        """Forget a family: the model uses it no more."""
        self._families.pop(name, None)
        self._tell_change()

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
    yield from histogram_samples(labels, bounds=family.bounds, counts=one.counts, total=one.value)
