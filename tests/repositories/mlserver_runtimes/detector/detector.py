"""Finds outliers in what it has gathered of several requests."""

from typing import List

import mlserver
import numpy as np
from mlserver.batching.requests import BatchedRequests
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.errors import InferenceError, MLServerError
from mlserver.model import MLModel
from mlserver.settings import ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import generate_uuid, get_model_uri


class Detector(MLModel):
    def __init__(self, settings: ModelSettings):
        extra = settings.parameters.extra
        self._batch_size = extra.get("batch_size")
        self._threshold = extra.get("threshold")
        self._batch: List[InferenceRequest] = []
        super().__init__(settings)

    async def load(self) -> bool:
        self._model_uri = await get_model_uri(self._settings)
        mlserver.register("outliers", "Outliers found")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if not self._batch_size:
            return self._detect(payload)
        self._batch.append(payload)
        if len(self._batch) < self._batch_size:
            return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[])
        batched = BatchedRequests({generate_uuid(): one for one in self._batch})
        self._batch = []
        return self._detect(batched.merged_request)

    def _detect(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode_request(payload, default_codec=NumpyRequestCodec)
        try:
            found = {"is_outlier": (np.abs(rows).max(axis=1) > self._threshold).astype(int)}
        except (ValueError, IndexError) as error:
            raise InferenceError(f"Invalid input for '{self.name}': {error}") from error
        for one in found["is_outlier"]:
            mlserver.log(outliers=float(one))
        if found["is_outlier"].all():
            raise MLServerError("all rows are outliers", 503)
        outputs = [
            NumpyCodec.encode_output(name=key, payload=np.array([value]))
            for key, value in found.items()
        ]
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            parameters={"name": "Detector", "online": False, "data_type": None},
            outputs=outputs,
        )
