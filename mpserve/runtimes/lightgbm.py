"""Runtime of LightGBM models, saved as text."""

import importlib
from collections.abc import Sequence
from typing import Any, Final

from mpserve.errors import LoadError
from mpserve.runtimes.artifact import find_artifact
from mpserve.runtimes.estimator import EstimatorModel, EstimatorRules, complete_config
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response
from mpserve.runtimes.responses import NativeResponses, ResponseBuilder, last_line
from mpserve.runtimes.stacking import answer_together

RULES: Final = EstimatorRules(
    peer_class="LightGBMModel", methods=("predict",), passes_over_outputs=True
)


class LightGBMRuntime:
    """Runs a booster; satisfies `mpserve.runtimes.protocol.Runtime`."""

    name = "lightgbm"
    default_files: tuple[str, ...] = ("model.bst", "model.txt")

    def __init__(self, responses: ResponseBuilder | None = None) -> None:
        self._responses = responses
        self._model: EstimatorModel | None = None

    def load(self, context: LoadContext) -> CompletedConfig:
        """Load the booster."""
        path = find_artifact(context, default_files=self.default_files)
        try:
            lightgbm: Any = importlib.import_module("lightgbm")
        except ImportError as error:
            raise LoadError(
                "runtime 'lightgbm' needs LightGBM: pip install 'mpserve[lightgbm]'"
            ) from error
        self._responses = self._responses or NativeResponses()
        try:
            booster = lightgbm.Booster(model_file=path)
        except Exception as error:
            raise LoadError(f"'{path}' is no model of LightGBM: {last_line(error)}") from error
        self._model = EstimatorModel(
            booster, rules=RULES, refusals=(lightgbm.basic.LightGBMError,), context=context
        )
        return complete_config(context)

    def execute(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Predict, once for all requests that are alike."""
        assert self._model is not None, "execute before load"
        assert self._responses is not None, "execute before load"
        return answer_together(requests, self._responses, self._model.predict)

    def unload(self) -> None:
        """Forget the booster."""
        self._model = None
