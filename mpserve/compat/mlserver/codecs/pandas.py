# ruff: noqa: ANN401, FBT001, FBT002  # values are the users', signatures the peer's
"""Data frames: one tensor for each column; content type `pd`.

pandas is optional and slow to import: it is imported when a frame is made, never to ask whether a
value is one.
"""

import importlib
import sys
from typing import Any

import numpy as np
import orjson

from mpserve.compat.mlserver.codecs.batch_dimension import inject_batch_dimension
from mpserve.compat.mlserver.codecs.codec import RequestCodec
from mpserve.compat.mlserver.codecs.decoded import get_decoded, has_decoded
from mpserve.compat.mlserver.codecs.lists import flat_list
from mpserve.compat.mlserver.codecs.numpy import tensor_data, to_array, to_datatype, to_dtype
from mpserve.compat.mlserver.codecs.registry import register_request_codec
from mpserve.compat.mlserver.codecs.string import StringCodec
from mpserve.compat.mlserver.errors import CodecError
from mpserve.compat.mlserver.shape import to_json
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)

Frame = Any  # pandas.DataFrame: optional, and without types of its own

_JSON_CONTENT_TYPE = "pd_json"  # elements are JSON texts


class _FrameHint(type):
    """Gives `TypeHint` only where pandas is imported: who annotates with it has imported it."""

    @property
    def TypeHint(cls) -> Any:
        pandas = sys.modules.get("pandas")
        return getattr(pandas, "DataFrame", _FrameHint)


@register_request_codec
class PandasCodec(RequestCodec, metaclass=_FrameHint):
    """Between a `pandas.DataFrame` and a request or a response."""

    ContentType = "pd"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Say whether `payload` is a data frame."""
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(payload, pandas.DataFrame)

    @classmethod
    def encode_outputs(
        cls,
        payload: Frame,
        use_bytes: bool = True,
    ) -> list[ResponseOutput]:
        """Return an output for each column; the index is left out.

        Raises
        ------
        CodecError
            A column's dtype has no datatype in the protocol.
        """
        return [
            _encode_column(name, series, use_bytes=use_bytes) for name, series in payload.items()
        ]

    @classmethod
    def encode_response(
        cls,
        model_name: str,
        payload: Frame,
        model_version: str | None = None,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> InferenceResponse:
        """Return the response that holds the frame."""
        del kwargs
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            parameters=Parameters(content_type=cls.ContentType),
            outputs=cls.encode_outputs(payload, use_bytes),
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Frame:
        """Return the frame a response holds."""
        return _frame(response.outputs)

    @classmethod
    def encode_request(
        cls,
        payload: Frame,
        use_bytes: bool = True,
        **kwargs: Any,
    ) -> InferenceRequest:
        """Return the request that holds the frame."""
        del kwargs
        return InferenceRequest(
            parameters=Parameters(content_type=cls.ContentType),
            inputs=[
                RequestInput.model_construct(**dict(output))
                for output in cls.encode_outputs(payload, use_bytes)
            ],
        )

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Frame:
        """Return the frame a request holds, with a column for each input."""
        return _frame(request.inputs)


def _encode_column(name: Any, series: Any, *, use_bytes: bool) -> ResponseOutput:
    if not isinstance(name, str):
        raise CodecError(f"column {name!r} has no name of text; rename the columns")
    array = series.to_numpy()
    if array.dtype.kind not in "OUST":
        return _encode_numbers(name, array)
    elements = array.tolist()
    if all(isinstance(element, str | bytes) for element in elements):
        content_type = StringCodec.ContentType
        encoded = [item.encode() if isinstance(item, str) else item for item in elements]
    else:
        content_type = _JSON_CONTENT_TYPE
        encoded = [to_json(element) for element in elements]
    return ResponseOutput(
        name=name,
        datatype="BYTES",
        shape=[len(encoded), 1],
        data=encoded if use_bytes else [element.decode() for element in encoded],
        parameters=Parameters(content_type=content_type),
    )


def _encode_numbers(name: str, array: Any) -> ResponseOutput:
    try:
        datatype = to_datatype(array.dtype).value
    except KeyError as error:
        raise CodecError(
            f"column '{name}' of dtype {array.dtype} has no datatype in the protocol; make it text"
            " or a number"
        ) from error
    return ResponseOutput.model_construct(
        name=name,
        datatype=datatype,
        shape=inject_batch_dimension(array.shape),
        data=tensor_data(array),
    )


def _frame(tensors: list[Any]) -> Frame:
    try:
        pd = importlib.import_module("pandas")
    except ImportError as error:
        raise CodecError("content type 'pd' needs pandas: pip install pandas") from error
    return pd.DataFrame({tensor.name: pd.Series(_column(tensor)) for tensor in tensors})


def _column(tensor: RequestInput | ResponseOutput) -> Any:
    """Return the elements of a column: an array of numbers, or a list."""
    if has_decoded(tensor):
        decoded = get_decoded(tensor)
        return decoded.ravel() if isinstance(decoded, np.ndarray) else decoded
    content_type = tensor.parameters.content_type if tensor.parameters else None
    if content_type == _JSON_CONTENT_TYPE:
        return [orjson.loads(element) for element in flat_list(tensor.data)]
    if content_type == StringCodec.ContentType:
        return StringCodec.decode_input(tensor)  # type: ignore[arg-type]  # either side
    return flat_list(tensor.data) if to_dtype(tensor) is None else to_array(tensor).ravel()
