"""A file found by its well-known name; members of `parameters` beside and in `extra`."""

import json
import logging

from mlserver import MLModel, types
from mlserver.errors import InferenceError
from mlserver.utils import get_model_uri

logger = logging.getLogger("Linear")
logger.setLevel(logging.DEBUG)

WELLKNOWN_MODEL_FILENAMES = ["model.json", "weights.json"]


class Linear(MLModel):
    async def load(self) -> bool:
        model_uri = await get_model_uri(
            self._settings, wellknown_filenames=WELLKNOWN_MODEL_FILENAMES
        )
        with open(model_uri) as file:
            self._slope = json.load(file)["slope"]
        parameters = self._settings.parameters
        self._bias = parameters.bias
        self._digits = parameters.extra["digits"]
        logger.info("loaded %s", model_uri)
        self.ready = True
        return self.ready

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        payload = self._check_request(payload)
        numbers = [self._slope * number + self._bias for number in payload.inputs[0].data]
        total = sum(payload.inputs[0].data) + len(payload.inputs[0].data)
        return types.InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            parameters=types.Parameters(total=round(total, self._digits)),
            outputs=[
                types.ResponseOutput(
                    name="points",
                    shape=[len(numbers)],
                    datatype=types.Datatype.FP64,
                    data=numbers,
                )
            ],
        )

    def _check_request(self, payload: types.InferenceRequest) -> types.InferenceRequest:
        if len(payload.inputs) != 1:
            raise InferenceError(f"Linear only supports a single input, not {len(payload.inputs)}")
        return payload
