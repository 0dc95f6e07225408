"""Histograms that a model keeps: `register` and `log`.

Each observation is counted in this process, by histogram and model. `REGISTRY` is where a worker
reads them.
"""

from bisect import bisect_left
from typing import Final

import msgspec

from mpserve.compat.mlserver.context import model_name_var, model_version_var
from mpserve.compat.mlserver.errors import InvalidModelContext

BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, float("inf")),
)
"""Upper bounds; the Prometheus client's defaults, which the peer uses."""


class Series(msgspec.Struct):
    """Observations of one histogram for one model version.

    Attributes
    ----------
    counts
        Observations in each bucket of `BUCKETS`, not summed up.
    """

    model_name: str
    model_version: str
    counts: list[int]
    total: float = 0.0


class Histogram:
    """One histogram, with a series for each model version that logs to it."""

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._series: dict[tuple[str, str], Series] = {}

    def observe(self, value: float) -> None:
        """Count one observation of the running model.

        Raises
        ------
        InvalidModelContext
            No model's code is running.
        """
        model_name, model_version = _running_model()
        series = self._series.get((model_name, model_version))
        if series is None:
            series = Series(model_name, model_version, [0] * len(BUCKETS))
            self._series[model_name, model_version] = series
        series.counts[bisect_left(BUCKETS, value)] += 1
        series.total += value

    def series(self) -> list[Series]:
        """Return what was counted, by model version."""
        return list(self._series.values())


class MetricsRegistry:
    """Histograms by name."""

    def __init__(self) -> None:
        self._histograms: dict[str, Histogram] = {}

    def histogram(self, name: str, description: str) -> Histogram:
        """Return the histogram of this name, made on first use."""
        known = self._histograms.get(name)
        if known is None:
            known = self._histograms[name] = Histogram(name, description)
        return known

    def histograms(self) -> list[Histogram]:
        """Return all histograms in the order of their making."""
        return list(self._histograms.values())


REGISTRY: Final = MetricsRegistry()


def register(name: str, description: str) -> Histogram:
    """Return the histogram of this name, made on first use with this description."""
    return REGISTRY.histogram(name, description)


def log(**metrics: float) -> None:
    """Observe a value for each histogram named; one that is not registered is made.

    Raises
    ------
    InvalidModelContext
        No model's code is running.
    """
    for name, value in metrics.items():
        REGISTRY.histogram(name, f"Logged by models as '{name}'.").observe(value)


def _running_model() -> tuple[str, str]:
    try:
        return model_name_var.get(), model_version_var.get()
    except LookupError as error:
        raise InvalidModelContext from error
