"""Metrics of models, as their workers have told them, over all workers.

Guarantees
    No counter goes down when a worker or a supervisor ends: what a worker told last stays, and
    those that live tell a new supervisor all that they have counted.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from mpserve.model.identity import InstanceKey
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.telemetry.model_metrics import MetricFamily, lasting, merged

PAST_KEY: Final = "model-metrics"


class _Past(msgspec.Struct, frozen=True):
    """What workers told that have ended."""

    families: tuple[MetricFamily, ...] = ()


class ModelMetrics:
    """What the workers told.

    Parameters
    ----------
    checkpoint
        What an earlier supervisor has added up.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._told: dict[InstanceKey, tuple[MetricFamily, ...]] = {}
        self._past = checkpoint.read(PAST_KEY, _Past) or _Past()

    def tell(self, key: InstanceKey, families: tuple[MetricFamily, ...]) -> None:
        """Take all that a worker has counted since its start."""
        self._told[key] = families

    def ended(self, key: InstanceKey) -> None:
        """Keep what a worker told last: it has ended."""
        told = self._told.pop(key, ())
        if told:
            self._past = _Past(merged((*self._past.families, *lasting(told))))
            self._checkpoint.put(PAST_KEY, self._past)

    def families(self) -> tuple[MetricFamily, ...]:
        """Return all families, each once."""
        return merged(self._all())

    def _all(self) -> Iterator[MetricFamily]:
        yield from self._past.families
        for told in self._told.values():
            yield from told
