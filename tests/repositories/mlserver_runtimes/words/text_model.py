"""Word by word, as the tutorial on streams has it."""

import asyncio
from typing import AsyncIterator

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class TextModel(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        text = StringCodec.decode_input(payload.inputs[0])[0]
        return self._response(text)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        payload = [one async for one in payloads][0]
        text = StringCodec.decode_input(payload.inputs[0])[0]
        for place, word in enumerate(text.split(" ")):
            await asyncio.sleep(0.001)
            yield self._response(word if place == 0 else " " + word)

    def _response(self, text: str) -> InferenceResponse:
        return InferenceResponse(
            model_name=self._settings.name,
            outputs=[StringCodec.encode_output(name="output", payload=[text], use_bytes=True)],
        )
