"""A runtime of images: base64 in, a codec of its own, the request shown as JSON."""

import base64
import json
import struct
from typing import Any, List

import numpy as np
from mlserver import MLModel, types
from mlserver.codecs import Base64Codec, DecodedParameterName, NumpyCodec, register_input_codec
from mlserver.codecs.utils import InputOrOutput

_to_exclude = {
    "parameters": {DecodedParameterName, "headers"},
    "inputs": {"__all__": {"parameters": {DecodedParameterName, "headers"}}},
}


class Image:
    """Width and height as two bytes each, then grey pixels."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    @classmethod
    def parse(cls, content: bytes) -> "Image":
        width, height = struct.unpack("<HH", content[:4])
        return cls(np.frombuffer(content, np.uint8, offset=4).reshape(height, width))

    def content(self) -> bytes:
        height, width = self.pixels.shape
        return struct.pack("<HH", width, height) + self.pixels.tobytes()


@register_input_codec
class ImageCodec(NumpyCodec):
    ContentType = "img"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, Image)

    @classmethod
    def _decode(cls, input_or_output: InputOrOutput) -> Image:
        if input_or_output.datatype != "BYTES":
            return Image(super().decode_input(input_or_output))
        encoded = input_or_output.data.root
        encoded = encoded[0] if isinstance(encoded, list) else encoded
        encoded = encoded.encode() if isinstance(encoded, str) else encoded
        return Image.parse(base64.b64decode(encoded))

    @classmethod
    def encode_output(cls, name: str, payload: Image, **kwargs) -> types.ResponseOutput:
        return types.ResponseOutput(
            name=name,
            shape=[1],
            datatype="BYTES",
            data=[base64.b64encode(payload.content())],
            parameters=types.Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_input(cls, request_input: types.RequestInput) -> Image:
        return cls._decode(request_input)


class ImageRuntime(MLModel):
    async def load(self) -> bool:
        self.seen: List[dict] = []
        self.ready = True
        return self.ready

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        outputs = []
        shown = payload.dict(exclude=_to_exclude)
        shown.pop("id", None)
        for request_input in payload.inputs:
            decoded = self.decode(request_input, default_codec=Base64Codec)
            if isinstance(decoded, Image):
                outputs.append(
                    self.encode(
                        Image(255 - decoded.pixels), types.RequestOutput(name=request_input.name)
                    )
                )
            else:
                sizes = np.array([[len(content)] for content in decoded])
                outputs.append(NumpyCodec.encode_output(request_input.name, sizes))
            alone = request_input.dict(exclude=_to_exclude)
            shown[f"alone {request_input.name}"] = alone
        outputs.append(
            types.ResponseOutput(
                name="shown", shape=[1], datatype="BYTES", data=[json.dumps(shown, sort_keys=True)]
            )
        )
        return types.InferenceResponse(model_name=self.name, outputs=outputs)
