"""Runtime of XGBoost models, saved as JSON, UBJSON or in the old binary form."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mpserve.errors import LoadError
from mpserve.runtimes.artifact import find_artifact
from mpserve.runtimes.estimator import EstimatorModel, EstimatorRules, complete_config
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response
from mpserve.runtimes.responses import NativeResponses, ResponseBuilder
from mpserve.runtimes.stacking import answer_together

_REGRESSOR: Final = "regressor"
_CLASS_OF_KIND: Final = {
    "classifier": "XGBClassifier",
    "ranker": "XGBRanker",
    _REGRESSOR: "XGBRegressor",
}

RULES: Final = EstimatorRules(peer_class="XGBoostModel", methods=("predict", "predict_proba"))


class XGBoostRuntime:
    """Runs a classifier or a regressor; satisfies `mpserve.runtimes.protocol.Runtime`."""

    name = "xgboost"
    default_files: tuple[str, ...] = ("model.bst", "model.json", "model.ubj")

    def __init__(self, responses: ResponseBuilder | None = None) -> None:
        self._responses = responses
        self._model: EstimatorModel | None = None

    def load(self, context: LoadContext) -> CompletedConfig:
        """Load the model; what it was trained for decides whether it classifies."""
        path = find_artifact(context, default_files=self.default_files)
        self._responses = self._responses or NativeResponses()
        self._model = EstimatorModel(_load_estimator(path), rules=RULES, context=context)
        return complete_config(context)

    def execute(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Call the methods that the requests name as their outputs, once for all that are alike."""
        assert self._model is not None, "execute before load"
        assert self._responses is not None, "execute before load"
        return answer_together(requests, self._responses, self._model.predict)

    def unload(self) -> None:
        """Forget the model."""
        self._model = None


def _load_estimator(path: Path) -> Any:  # noqa: ANN401  # a class of a library without types
    """Return the estimator the file was saved from; a plain booster becomes a regressor.

    Raises
    ------
    LoadError
        XGBoost is not installed, or the file is not a model.
    """
    try:
        xgboost = importlib.import_module("xgboost")
    except ImportError as error:
        raise LoadError(
            "runtime 'xgboost' needs XGBoost: pip install 'mpserve[xgboost]'"
        ) from error
    try:
        booster = xgboost.Booster(model_file=path)
        estimator = getattr(xgboost, _CLASS_OF_KIND[_estimator_kind(booster)])()
        estimator.load_model(path)
    except ValueError as error:  # XGBoostError is one, and so is a wrong encoding
        reason = str(error).partition("Stack trace:")[0].strip()
        raise LoadError(f"'{path}' is no model of XGBoost: {reason}") from error
    return estimator


def _estimator_kind(booster: Any) -> str:  # noqa: ANN401
    """Return what the scikit-learn interface noted in the file, a regressor where it did not."""
    noted = json.loads(booster.attr("scikit_learn") or "{}")
    return str(noted.get("_estimator_type", _REGRESSOR))
