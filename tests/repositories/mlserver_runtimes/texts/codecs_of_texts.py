"""Codecs of a runtime for texts: each input by its content type, lists of JSON as the answer."""

from typing import Any

from mlserver.codecs import StringCodec
from mlserver.codecs.base import (
    InputCodec,
    RequestCodec,
    find_input_codec,
    find_input_codec_by_payload,
    register_input_codec,
    register_request_codec,
)
from mlserver.codecs.json import decode_json_input_or_output, encode_to_json
from mlserver.codecs.utils import _save_decoded, get_decoded_or_raw, has_decoded
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)


@register_input_codec
class JsonListCodec(InputCodec):
    ContentType = "json_list"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list) and all(isinstance(one, dict) for one in payload)

    @classmethod
    def encode_output(cls, name: str, payload: list, use_bytes: bool = True, **kwargs):
        packed = [encode_to_json(one, use_bytes) for one in payload]
        return ResponseOutput(
            name=name,
            shape=[len(packed), 1],
            datatype="BYTES",
            data=packed,
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list:
        return decode_json_input_or_output(request_input)


@register_request_codec
class TextsCodec(RequestCodec):
    ContentType = "texts"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, dict)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> dict[str, Any]:
        values = {}
        for item in request.inputs:
            if not has_decoded(item):
                asked = item.parameters.content_type if item.parameters else None
                codec = (asked and find_input_codec(asked)) or StringCodec
                _save_decoded(item, codec.decode_input(item))
            values[item.name] = get_decoded_or_raw(item)
        return values

    @classmethod
    def encode_response(cls, model_name, payload, model_version=None, **kwargs):
        outputs = []
        for name, value in payload.items():
            codec = find_input_codec_by_payload(value)
            outputs.append(codec.encode_output(name, value))
        return InferenceResponse(
            model_name=model_name, model_version=model_version, outputs=outputs
        )
