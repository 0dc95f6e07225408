"""Passes requests on in other words: copies, parameters, dumps."""

import json
from copy import deepcopy

from mlserver import MLModel
from mlserver.cli.serve import load_settings
from mlserver.codecs import StringCodec
from mlserver.codecs.string import StringRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


class Router(MLModel):
    async def load(self) -> bool:
        self.loaded = callable(load_settings)
        return self.loaded

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        first = payload.inputs[0]
        given = first.parameters or Parameters()
        first.parameters = given.copy(update={"arrival": "1.5"})
        step = payload.model_copy(deep=True)
        step.inputs[0].data.root[0] = "changed"
        other = deepcopy(payload)
        kept = InferenceRequest(inputs=other.inputs)
        texts = StringRequestCodec.decode_request(kept)
        again = InferenceRequest.parse_obj(json.loads(kept.json()))
        assert again.inputs[0].name == first.name
        told = {
            "first": first.data[0],
            "changed": step.inputs[0].data[0],
            "arrival": first.parameters.arrival,
            "again": again.inputs[0].shape,
            "texts": texts,
        }
        output = ResponseOutput(
            name="told",
            shape=[1],
            datatype="BYTES",
            data=[json.dumps(told, sort_keys=True).encode("UTF-8")],
            parameters=Parameters(content_type="str", arrival=first.parameters.arrival),
        )
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            outputs=[output, StringCodec.encode_output("texts", texts)],
        )
