"""Metrics of models, as their workers have told them, over all workers.

Guarantees
    No counter goes down when a worker or a supervisor ends: what a worker told last stays, and
    those that live tell a new supervisor all that they have counted. What the workers of a model
    told goes with its unload.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from mpserve.control.message import Message
from mpserve.control.messages import WorkerMetrics
from mpserve.model.identity import InstanceKey, ModelName
from mpserve.supervisor.checkpoint import Checkpoint
from mpserve.supervisor.metrics_question import MetricsQuestion
from mpserve.telemetry.model_metrics import MetricFamily, lasting, merged

PAST_KEY: Final = "model-metrics"


class _Past(msgspec.Struct, frozen=True):
    """What workers told that have ended, by model."""

    models: dict[ModelName, tuple[MetricFamily, ...]] = {}


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
        self._question = MetricsQuestion()
        self._past = checkpoint.read(PAST_KEY, _Past) or _Past()

    def tell(self, key: InstanceKey, message: WorkerMetrics) -> None:
        """Take all that a worker has counted since its start."""
        self._told[key] = message.families
        self._question.heard(key, message.question)

    async def ask(self, send: Callable[[InstanceKey, Message], None]) -> None:
        """Ask the workers whose models count; wait for those that can answer soon."""
        await self._question.ask(send)

    def ended(self, key: InstanceKey) -> None:
        """Keep what a worker told last: it has ended."""
        told = self._told.pop(key, ())
        self._question.gone(key)
        if told:
            past = self._past.models.get(key.name, ())
            self._keep({**self._past.models, key.name: merged((*past, *lasting(told)))})

    def unloaded(self, name: ModelName) -> None:
        """Forget what the workers of a model told."""
        if name in self._past.models:
            self._keep({model: past for model, past in self._past.models.items() if model != name})

    def families(self) -> tuple[MetricFamily, ...]:
        """Return all families, each once."""
        return merged(self._all())

    def _keep(self, models: dict[ModelName, tuple[MetricFamily, ...]]) -> None:
        self._past = _Past(models)
        self._checkpoint.put(PAST_KEY, self._past)

    def _all(self) -> Iterator[MetricFamily]:
        for past in self._past.models.values():
            yield from past
        for told in self._told.values():
            yield from told
