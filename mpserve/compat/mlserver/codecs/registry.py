# ruff: noqa: ANN401  # values are the users'
"""Codecs by content type, by payload and by type hint."""

import datetime
import logging
import types
from collections.abc import Callable
from typing import Any, TypeVar, Union, get_args, get_origin

from mpserve.compat.mlserver.codecs.codec import InputCodecLike, RequestCodecLike

logger = logging.getLogger("mlserver")

Codec = TypeVar("Codec")

_input_codecs: dict[str, InputCodecLike] = {}  # content type -> codec, in the order of registration
_request_codecs: dict[str, RequestCodecLike] = {}


def register_input_codec(CodecKlass: Codec) -> Codec:
    """Make an input codec known; usable as a decorator."""
    _register(_input_codecs, CodecKlass)
    return CodecKlass


def register_request_codec(CodecKlass: Codec) -> Codec:
    """Make a request codec known; usable as a decorator."""
    _register(_request_codecs, CodecKlass)
    return CodecKlass


def _register(codecs: dict[str, Any], codec: Any) -> None:
    known = codecs.get(codec.ContentType)
    if known is not None and known is not codec:
        logger.warning("the codec of content type '%s' is replaced", codec.ContentType)
    codecs[codec.ContentType] = codec


def find_input_codec(
    content_type: str | None = None, payload: Any = None, type_hint: Any = None
) -> InputCodecLike | None:
    """Return the input codec that the first criterion given asks for, `None` if there is none."""
    return _find(_input_codecs, content_type, payload, type_hint)


def find_request_codec(
    content_type: str | None = None, payload: Any = None, type_hint: Any = None
) -> RequestCodecLike | None:
    """Return the request codec that the first criterion given asks for, or `None`."""
    return _find(_request_codecs, content_type, payload, type_hint)


def find_input_codec_by_payload(payload: Any) -> InputCodecLike | None:
    """Return the first input codec that can encode the payload."""
    return _first(_input_codecs, lambda codec: codec.can_encode(payload))


def find_request_codec_by_payload(payload: Any) -> RequestCodecLike | None:
    """Return the first request codec that can encode the payload."""
    return _first(_request_codecs, lambda codec: codec.can_encode(payload))


def find_input_codec_by_type_hint(type_hint: Any) -> InputCodecLike | None:
    """Return the input codec of a type hint."""
    return _first(_input_codecs, lambda codec: same_hint(codec.TypeHint, type_hint))


def find_request_codec_by_type_hint(type_hint: Any) -> RequestCodecLike | None:
    """Return the request codec of a type hint."""
    return _first(_request_codecs, lambda codec: same_hint(codec.TypeHint, type_hint))


def same_hint(declared: Any, hint: Any) -> bool:
    """Say whether two hints mean the same type: `List[str]` and `list[str]` do."""
    return bool(_plain_hint(declared) == _plain_hint(hint))


def _plain_hint(hint: Any) -> Any:
    """Return the hint as nested tuples, without the two spellings of one type."""
    origin = get_origin(hint)
    arms = [_plain_hint(arm) for arm in get_args(hint)]
    if origin in {Union, types.UnionType}:
        return ("union", frozenset(arms))
    if origin is not list:
        return hint
    # A list of datetimes is what the datetime codec returns; it also takes text.
    return ("list", _DATETIMES if arms == [datetime.datetime] else arms[0])


_DATETIMES = ("union", frozenset({str, datetime.datetime}))


def _find(
    codecs: dict[str, Codec], content_type: str | None, payload: Any, type_hint: Any
) -> Codec | None:
    if content_type:
        return codecs.get(content_type)
    if payload is not None:
        return _first(codecs, lambda codec: codec.can_encode(payload))
    if type_hint is not None:
        return _first(codecs, lambda codec: same_hint(codec.TypeHint, type_hint))
    return None


def _first(codecs: dict[str, Codec], fits: Callable[[Any], bool]) -> Codec | None:
    return next((codec for codec in codecs.values() if fits(codec)), None)
