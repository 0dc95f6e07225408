"""Codecs between tensors and Python values: the names of `mlserver.codecs`."""

from mpserve.compat.mlserver.codecs.base64 import Base64Codec
from mpserve.compat.mlserver.codecs.codec import (
    InputCodec,
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
)
from mpserve.compat.mlserver.codecs.datetime import DatetimeCodec
from mpserve.compat.mlserver.codecs.decoded import (
    DecodedParameterName,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)
from mpserve.compat.mlserver.codecs.decorator import decode_args
from mpserve.compat.mlserver.codecs.negotiation import (
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
)
from mpserve.compat.mlserver.codecs.numpy import NumpyCodec, NumpyRequestCodec
from mpserve.compat.mlserver.codecs.pandas import PandasCodec
from mpserve.compat.mlserver.codecs.registry import register_input_codec, register_request_codec
from mpserve.compat.mlserver.codecs.string import StringCodec, StringRequestCodec
from mpserve.compat.mlserver.errors import CodecError

__all__ = [
    "Base64Codec",
    "CodecError",
    "DatetimeCodec",
    "DecodedParameterName",
    "InputCodec",
    "InputCodecLike",
    "NumpyCodec",
    "NumpyRequestCodec",
    "PandasCodec",
    "RequestCodec",
    "RequestCodecLike",
    "StringCodec",
    "StringRequestCodec",
    "decode_args",
    "decode_inference_request",
    "decode_request_input",
    "encode_inference_response",
    "encode_response_output",
    "get_decoded",
    "get_decoded_or_raw",
    "has_decoded",
    "register_input_codec",
    "register_request_codec",
]
