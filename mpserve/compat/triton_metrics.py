"""Custom metrics of a Triton model: `pb_utils.MetricFamily` and its metrics.

Guarantees
    Counting waits for nobody; the metrics port adds up what all instances have counted. What an
    instance counted stays when it ends, until the last version of its model is unloaded.
Source
    Triton's Python backend and core (`metric_family.cc`); errors in their words.
"""

import weakref
from typing import Any, Final

from mpserve import _native
from mpserve.compat.triton_bls import Phase, current_phase
from mpserve.telemetry.exposition import Kind
from mpserve.telemetry.model_metrics import (
    RECORDER,
    MetricConflict,
    MetricKey,
    RecordedFamily,
    metric_key,
)

_FAMILY_GONE: Final = (
    "Invalid metric operation as the corresponding 'MetricFamily' has been deleted. The"
    " 'MetricFamily' object should be deleted AFTER its corresponding 'Metric' objects have been"
    " deleted."
)
_KIND_WORD: Final = "TRITONSERVER_METRIC_KIND_"


def _refusal(message: str) -> Exception:
    return _native.TritonModelException(message)


class Metric:
    """Numbers of one set of labels; made by `MetricFamily.Metric`."""

    def __init__(self, family: "MetricFamily", key: MetricKey) -> None:
        self._family = weakref.ref(family)
        self._kind = family.kind
        self._recorded = family.recorded
        self._key = key
        self._recorded.hold(key)
        weakref.finalize(self, _release, self._recorded, key)

    def increment(self, value: float) -> None:
        """Add; a counter takes nothing below 0."""
        self._allow("increment", "Increment", Kind.COUNTER, Kind.GAUGE)
        if self._kind is Kind.COUNTER and value < 0:
            raise _refusal(
                f"Failed to increment metric value: {_KIND_WORD}COUNTER can only be incremented"
                " monotonically by non-negative values."
            )
        self._recorded.add(self._key, value)

    def set(self, value: float) -> None:
        """Set a gauge."""
        self._allow("set", "Set", Kind.GAUGE)
        self._recorded.set(self._key, value)

    def observe(self, value: float) -> None:
        """Count a value into the bucket of a histogram."""
        self._allow("observe", "Observe", Kind.HISTOGRAM)
        self._recorded.observe(dict(self._key), value)

    def value(self) -> float:
        """Return the number as this instance has counted it."""
        self._allow("get", "Value", Kind.COUNTER, Kind.GAUGE)
        return self._recorded.value(self._key)

    def _allow(self, verb: str, operation: str, *kinds: Kind) -> None:
        if self._family() is None:
            raise _refusal(_FAMILY_GONE)
        if self._kind not in kinds:
            raise _refusal(
                f"Failed to {verb} metric value: {_KIND_WORD}{self._kind.name} does not support"
                f" {operation}"
            )


class MetricFamily:
    """Metrics of one name; they can be used as long as it lives."""

    COUNTER = Kind.COUNTER
    GAUGE = Kind.GAUGE
    HISTOGRAM = Kind.HISTOGRAM

    def __init__(self, name: str, description: str, kind: Kind) -> None:
        if kind not in (Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM):
            raise _refusal(f"Failed to create metric family. Unknown kind: {kind!r}")
        self.kind = kind
        try:
            self.recorded = RECORDER.family(name, kind, description)
        except MetricConflict as error:
            raise _refusal(f"Failed to create metric family. {error}") from error
        self.recorded.holders += 1
        weakref.finalize(self, _release_family, self.recorded)

    def Metric(self, labels: Any = None, buckets: Any = None) -> Metric:  # noqa: ANN401  # a model may give anything
        """Return the metric of these labels, made on first use.

        Parameters
        ----------
        labels
            A dictionary of texts.
        buckets
            Upper bounds of a histogram's buckets, ascending.
        """
        if labels is not None and not isinstance(labels, dict):
            raise _refusal("Failed to create metric. Labels must be a dictionary.")
        try:
            self.recorded.bound(self._bounds(buckets))
            return Metric(self, metric_key(labels or {}))
        except MetricConflict as error:
            raise _refusal(f"Failed to create metric. {error}") from error

    def _bounds(self, buckets: Any) -> tuple[float, ...]:  # noqa: ANN401  # see above
        if self.kind is not Kind.HISTOGRAM:
            if buckets is not None:
                raise _refusal("Failed to create metric. Unexpected buckets found.")
            return ()
        if buckets is None:
            raise _refusal("Failed to create metric. Missing required buckets.")
        if not isinstance(buckets, list):
            raise _refusal("Failed to create metric. Buckets must be a list.")
        bounds = tuple(float(bound) for bound in buckets)
        if list(bounds) != sorted(set(bounds)):
            raise _refusal("Failed to create metric. Buckets must ascend, each once.")
        return bounds


def _release(recorded: RecordedFamily, key: MetricKey) -> None:
    if _is_the_models_wish():
        recorded.release(key)


def _release_family(recorded: RecordedFamily) -> None:
    recorded.holders -= 1
    if not recorded.holders and _is_the_models_wish():
        RECORDER.remove(recorded.name)


def _is_the_models_wish() -> bool:
    """Not when the instance ends: what it has counted is still true."""
    return current_phase() is not Phase.FINALIZING
