"""Graph of an ensemble: models as steps, tensors that lead from one to the next.

Source: Triton `ModelEnsembling` in `model_config.proto`.
"""

from collections.abc import Iterable

import msgspec

from mpserve.model.identity import ModelName, Version


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One model of an ensemble.

    Attributes
    ----------
    version
        "" for the highest one that is ready.
    inputs
        Input of the model -> tensor of the ensemble.
    outputs
        Output of the model -> tensor of the ensemble. Outputs that are not here are not asked for.
    """

    model: ModelName
    version: Version
    inputs: dict[str, str]
    outputs: dict[str, str]


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """The whole graph. Each tensor is written once: by a client, or by one step.

    Attributes
    ----------
    max_inflight_requests
        How many requests of one client request a step may have in flight; 0 means no bound. Without
        decoupled steps there is never more than one.
    """

    steps: tuple[Step, ...]
    max_inflight_requests: int = 0

    @property
    def models(self) -> tuple[ModelName, ...]:
        """Names of the models, each once, in the order of the steps."""
        return tuple(dict.fromkeys(step.model for step in self.steps))

    def needed_steps(self, tensors: Iterable[str]) -> frozenset[int]:
        """Return the indices of the steps without which `tensors` would not be there."""
        writers = {
            tensor: index
            for index, step in enumerate(self.steps)
            for tensor in step.outputs.values()
        }
        needed: set[int] = set()
        looked_for = list(tensors)
        while looked_for:
            writer = writers.get(looked_for.pop())
            if writer is not None and writer not in needed:
                needed.add(writer)
                looked_for += self.steps[writer].inputs.values()
        return frozenset(needed)
