"""Runtime of scikit-learn estimators, saved by joblib or pickle."""

import importlib
from collections.abc import Sequence
from typing import Final

from mpserve.errors import LoadError
from mpserve.runtimes.artifact import find_artifact
from mpserve.runtimes.estimator import EstimatorModel, EstimatorRules, complete_config
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Response
from mpserve.runtimes.responses import NativeResponses, ResponseBuilder, last_line
from mpserve.runtimes.stacking import answer_together

RULES: Final = EstimatorRules(
    peer_class="SKLearnModel",
    methods=("predict", "predict_proba", "transform"),
    default_setting="predict_fn",
)


class SklearnRuntime:
    """Runs an estimator or a pipeline; satisfies `mpserve.runtimes.protocol.Runtime`."""

    name = "sklearn"
    default_files: tuple[str, ...] = ("model.joblib", "model.pickle", "model.pkl")

    def __init__(self, responses: ResponseBuilder | None = None) -> None:
        self._responses = responses
        self._model: EstimatorModel | None = None

    def load(self, context: LoadContext) -> CompletedConfig:
        """Unpickle the estimator: only load files whose maker is trusted."""
        path = find_artifact(context, default_files=self.default_files)
        try:
            joblib = importlib.import_module("joblib")
        except ImportError as error:
            raise LoadError(
                "runtime 'sklearn' needs scikit-learn: pip install 'mpserve[sklearn]'"
            ) from error
        self._responses = self._responses or NativeResponses()
        try:
            estimator = joblib.load(path)
        except Exception as error:
            raise LoadError(f"'{path}' can not be unpickled: {last_line(error)}") from error
        self._model = EstimatorModel(estimator, rules=RULES, context=context)
        return complete_config(context)

    def execute(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Call the methods that the requests name as their outputs, once for all that are alike."""
        assert self._model is not None, "execute before load"
        assert self._responses is not None, "execute before load"
        return answer_together(requests, self._responses, self._model.predict)

    def unload(self) -> None:
        """Forget the estimator."""
        self._model = None
