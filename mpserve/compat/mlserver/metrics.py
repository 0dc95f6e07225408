"""Histograms that a model keeps: `register` and `log`."""

from typing import Final

from mpserve.compat.mlserver.context import model_name_var, model_version_var
from mpserve.compat.mlserver.errors import InvalidModelContext
from mpserve.telemetry.model_metrics import RECORDER, RecordedFamily

BOUNDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
"""Upper bounds; the Prometheus client's defaults, which the peer uses."""

SELDON_MODEL_NAME_LABEL: Final = "model_name"
SELDON_MODEL_VERSION_LABEL: Final = "model_version"


class Histogram:
    """One histogram, with a series for each model version that logs to it."""

    def __init__(self, family: RecordedFamily) -> None:
        self._family = family
        self.name = family.name
        self.description = family.help

    def observe(self, value: float) -> None:
        """Count one observation of the running model.

        Raises
        ------
        InvalidModelContext
            No model's code is running.
        """
        self._family.observe(_running_model(), value)


_histograms: dict[str, Histogram] = {}


def register(name: str, description: str) -> Histogram:
    """Return the histogram of this name, made on first use with this description."""
    known = _histograms.get(name)
    if known is None:
        known = _histograms[name] = Histogram(RECORDER.histogram(name, description, BOUNDS))
    return known


def log(**metrics: float) -> None:
    """Observe a value for each histogram named; one that is not registered is made.

    Raises
    ------
    InvalidModelContext
        No model's code is running.
    """
    for name, value in metrics.items():
        register(name, f"Logged by models as '{name}'.").observe(value)


def _running_model() -> dict[str, str]:
    try:
        return {
            SELDON_MODEL_NAME_LABEL: model_name_var.get(),
            SELDON_MODEL_VERSION_LABEL: model_version_var.get(),
        }
    except LookupError as error:
        raise InvalidModelContext from error
