# ruff: noqa: ANN401  # values are the users'
"""Which codec decodes or encodes what: content type first, then payload."""

from collections.abc import Mapping
from typing import Any

from mpserve.compat.mlserver.codecs.decoded import keep_decoded
from mpserve.compat.mlserver.codecs.registry import (
    find_input_codec,
    find_request_codec,
    find_request_codec_by_payload,
)
from mpserve.compat.mlserver.settings import ModelSettings
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

Parametrised = InferenceRequest | RequestInput | RequestOutput | ResponseOutput | InferenceResponse
Tagged = MetadataTensor | ModelSettings

NO_METADATA: Mapping[str, MetadataTensor] = {}


def decode_request_input(
    request_input: RequestInput, metadata_inputs: Mapping[str, MetadataTensor] = NO_METADATA
) -> Any:
    """Decode an input by its content type, or the one the model declares for it.

    Returns
    -------
    Any
        The decoded value, which is also kept with the input; `None` when no codec is asked for.
    """
    codec = find_input_codec(content_type=_content_type(request_input, metadata_inputs))
    return None if codec is None else keep_decoded(request_input, codec.decode_input(request_input))


def decode_inference_request(
    inference_request: InferenceRequest,
    model_settings: ModelSettings | None = None,
    metadata_inputs: Mapping[str, MetadataTensor] = NO_METADATA,
) -> Any:
    """Decode each input, then the request by its content type or the one of the settings.

    Returns
    -------
    Any
        The decoded value, which is also kept with the request; the request itself when no codec is
        asked for.
    """
    for request_input in inference_request.inputs:
        decode_request_input(request_input, metadata_inputs)
    content_type = _own_content_type(inference_request) or _own_content_type(model_settings)
    codec = find_request_codec(content_type=content_type)
    if codec is None:
        return inference_request
    return keep_decoded(inference_request, codec.decode_request(inference_request))


def encode_response_output(
    payload: Any,
    request_output: RequestOutput,
    metadata_outputs: Mapping[str, MetadataTensor] = NO_METADATA,
) -> ResponseOutput | None:
    """Encode a value by the content type asked for or declared, else by what it is.

    Returns
    -------
    ResponseOutput | None
        `None` when there is no codec.
    """
    content_type = _content_type(request_output, metadata_outputs)
    codec = find_input_codec(content_type=content_type, payload=payload)
    return None if codec is None else codec.encode_output(name=request_output.name, payload=payload)


def encode_inference_response(
    payload: Any, model_settings: ModelSettings
) -> InferenceResponse | None:
    """Encode a value as a whole response by what it is; `None` when there is no codec."""
    codec = find_request_codec_by_payload(payload)
    if codec is None:
        return None
    return codec.encode_response(
        model_name=model_settings.name, payload=payload, model_version=model_settings.version
    )


def _content_type(tensor: Any, metadata: Mapping[str, MetadataTensor]) -> str | None:
    return _own_content_type(tensor) or _own_content_type(metadata.get(tensor.name))


def _own_content_type(owner: Any) -> str | None:
    content_type: str | None = getattr(getattr(owner, "parameters", None), "content_type", None)
    return content_type
