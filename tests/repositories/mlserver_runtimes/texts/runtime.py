"""A runtime as those of pipelines for texts: settings of its own, a slow load in a thread."""

import asyncio
import os
from typing import Optional

from codecs_of_texts import TextsCodec
from mlserver.logging import logger
from mlserver.model import MLModel
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor


class TextSettings:
    def __init__(self, task: str = "", mark: str = "", **_):
        self.task, self.mark = task, mark


def get_text_settings(settings: ModelSettings) -> TextSettings:
    parameters: Optional[ModelParameters] = settings.parameters
    extra = dict((parameters and parameters.extra) or {})
    extra.setdefault("task", os.environ.get("TEXT_TASK", "plain"))
    return TextSettings(**extra)


class TextRuntime(MLModel):
    def __init__(self, settings: ModelSettings):
        self.text_settings = get_text_settings(settings)
        super().__init__(settings)

    async def load(self) -> bool:
        logger.info(f"Loading task '{self.text_settings.task}'...")
        loop = asyncio.get_running_loop()
        [self._pipeline] = await asyncio.gather(loop.run_in_executor(None, self._make))
        self._merge_metadata()
        return True

    def _make(self):
        mark = self.text_settings.mark
        return lambda texts, times=(1,): [
            {"text": (text + mark).upper() * times[0], "length": len(text)} for text in texts
        ]

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        arguments = TextsCodec.decode_request(payload)
        texts = arguments.pop("args")
        kwargs = {}
        for request_input in payload.inputs:
            if request_input.parameters and getattr(request_input.parameters, "times", None):
                kwargs["times"] = [request_input.parameters.times]
        if "times" in arguments:
            kwargs["times"] = [int(number) for number in arguments["times"]]
        answers = self._pipeline(texts, **kwargs)
        return self.encode_response({"output": answers}, default_codec=TextsCodec)

    async def unload(self) -> bool:
        self._pipeline = None
        return True

    def _merge_metadata(self) -> None:
        self.inputs += [
            MetadataTensor(
                name="args", datatype="BYTES", shape=[-1], parameters={"content_type": "str"}
            )
        ]
        self.outputs += [MetadataTensor(name="output", datatype="BYTES", shape=[-1, 1])]
