# ruff: noqa: ANN401  # values are the users'
"""`decode_args`: a `predict` whose arguments are the decoded inputs, by name and annotation."""

import types
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Union, get_args, get_origin, get_type_hints

from mpserve.compat.mlserver.codecs.codec import DefaultOutputPrefix, InputCodec, RequestCodec
from mpserve.compat.mlserver.codecs.registry import (
    find_input_codec_by_type_hint,
    find_request_codec_by_type_hint,
)
from mpserve.compat.mlserver.errors import CodecNotFound, InputsNotFound, OutputNotFound
from mpserve.compat.mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

PredictFunc = Callable[[Any, InferenceRequest], Coroutine[Any, Any, InferenceResponse]]


class SignatureCodec(RequestCodec):
    """Between a request and the keyword arguments of one function.

    Raises
    ------
    CodecNotFound
        At construction: an annotation has no codec.
    """

    def __init__(self, predict: Callable[..., Any]) -> None:
        hints = get_type_hints(predict)
        returned = hints.pop("return", None)
        self._input_hints = hints
        self._output_hints = _output_hints(returned)
        self._input_codecs = {
            name: _find_codec(hint, name=name, is_input=True) for name, hint in hints.items()
        }
        self._output_codecs = [
            _find_codec(hint, name=None, is_input=False) for hint in self._output_hints
        ]

    def decode_request(self, request: InferenceRequest) -> dict[str, Any]:  # type: ignore[override]  # bound to one function
        """Return the arguments by name.

        Raises
        ------
        InputsNotFound
            An input is named after no argument, and no argument takes whole requests.
        """
        arguments: dict[str, Any] = {}
        extra = []
        for request_input in request.inputs:
            codec: Any = self._input_codecs.get(request_input.name)
            if _is_kind(codec, InputCodec):
                arguments[request_input.name] = codec.decode_input(request_input)
            else:
                extra.append(request_input)
        if extra:
            arguments.update(self._decode_extra(request, extra))
        return arguments

    def _decode_extra(self, request: InferenceRequest, extra: list[Any]) -> dict[str, Any]:
        takers = {
            name: codec
            for name, codec in self._input_codecs.items()
            if not _is_kind(codec, InputCodec)
        }
        if not takers:
            raise InputsNotFound(extra, self._input_hints)
        rest = request.model_copy(update={"inputs": extra})
        return {name: codec.decode_request(rest) for name, codec in takers.items()}

    def encode_response(  # type: ignore[override]  # bound to one function
        self, model_name: str, payload: Any, model_version: str | None = None
    ) -> InferenceResponse:
        """Return the response of what the function returned: one value, or a tuple of values."""
        values = payload if isinstance(payload, tuple) else (payload,)
        outputs = [
            output for index, value in enumerate(values) for output in self._encode(index, value)
        ]
        return InferenceResponse(
            model_name=model_name, model_version=model_version, outputs=outputs
        )

    def _encode(self, index: int, value: Any) -> list[ResponseOutput]:
        hint = self._output_hints[index] if index < len(self._output_hints) else None
        if value is None and hint is not None and _without_none(hint) is not hint:
            return []
        codec = self._output_codecs[index] if hint is not None else None
        if codec is None or not codec.can_encode(value):
            raise OutputNotFound(index, type(value), self._output_hints)
        if _is_kind(codec, InputCodec):
            return [codec.encode_output(name=f"{DefaultOutputPrefix}{index}", payload=value)]
        outputs: list[ResponseOutput] = codec.encode_response("", value).outputs
        return outputs


def decode_args(
    predict: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[[Any, InferenceRequest], Coroutine[Any, Any, InferenceResponse]]:
    """Turn a method of decoded arguments into a `predict` of requests.

    Each argument is decoded from the input of its name by the codec of its annotation; an argument
    annotated with a type of a request codec (`pandas.DataFrame`) takes all other inputs. Outputs
    are named `output-0`, `output-1`, …
    """
    codec = SignatureCodec(predict)

    @wraps(predict)
    async def predict_decoded(self: Any, request: InferenceRequest) -> InferenceResponse:
        answer = await predict(self, **codec.decode_request(request))
        return codec.encode_response(
            model_name=self.name, payload=answer, model_version=self.version
        )

    return predict_decoded


def _output_hints(returned: Any) -> list[Any]:
    if returned is None or returned is type(None):
        return []
    return list(get_args(returned)) if get_origin(returned) is tuple else [returned]


def _find_codec(hint: Any, *, name: str | None, is_input: bool) -> Any:
    plain = _without_none(hint)
    codec = find_input_codec_by_type_hint(plain) or find_request_codec_by_type_hint(plain)
    if codec is None:
        raise CodecNotFound(name=name, payload_type=str(hint), is_input=is_input)
    return codec


def _without_none(hint: Any) -> Any:
    """Return `X` for `Optional[X]`, else the hint itself."""
    if get_origin(hint) not in {Union, types.UnionType}:
        return hint
    arms = [arm for arm in get_args(hint) if arm is not type(None)]
    return arms[0] if len(arms) == 1 else hint


def _is_kind(codec: Any, kind: type) -> bool:
    return isinstance(codec, kind) or (isinstance(codec, type) and issubclass(codec, kind))
