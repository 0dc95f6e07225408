"""The configuration as `GET /v2/models/M/config` prints it, and back."""

import msgspec

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import TritonConfig

_decoder = msgspec.json.Decoder(TritonConfig)
_encoder = msgspec.json.Encoder(order="deterministic")


def encode_config(config: TritonConfig) -> str:
    """Return the JSON text: snake_case names in the order of the declarations, all scalars printed,
    unset messages left out, 64-bit numbers as numbers, maps sorted by key.

    Source: Triton's `GET /config`; equal configurations give equal text.
    """
    return _encoder.encode(config).decode()


def decode_config(text: str) -> TritonConfig:
    """Parse the text of `encode_config`, or one a model changed; missing fields get defaults.

    Raises
    ------
    InvalidRequest
        When the text is no configuration; the message names the field.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"Invalid model configuration: {error}") from error
