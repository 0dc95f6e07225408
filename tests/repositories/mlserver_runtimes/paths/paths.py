"""Paths of the model's own beside `infer`."""

from typing import List

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler
from mlserver.rest.responses import Response
from mlserver.types import InferenceRequest, InferenceResponse


class TooMany(MLServerError):
    def __init__(self, count: int):
        super().__init__(f"{count} are too many", 422)


class Paths(MLModel):
    @custom_handler(rest_path="/ping", rest_method="GET")
    async def ping(self) -> str:
        return "\n"

    @custom_handler(rest_path="/sum")
    async def total(self, payload: List[int]) -> int:
        if len(payload) > 3:
            raise TooMany(len(payload))
        return sum(payload)

    @custom_handler(rest_path="/explain/{kind}")
    async def explain(self, payload: InferenceRequest, kind: str, depth: int = 1) -> Response:
        response = await self.predict(payload)
        told = {"kind": kind, "depth": depth, "answer": response.outputs[0].model_dump()}
        return Response(content=told, status_code=202, headers={"X-Kind": kind})

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("largest", np.array([rows.max()]))
        return InferenceResponse(model_name=self.name, outputs=[output])
