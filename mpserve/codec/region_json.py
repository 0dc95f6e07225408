"""JSON bodies of the shared-memory extensions. Source: triton.md 3.10."""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

import msgspec
import orjson

from mpserve.codec.json_member import MAX_UINT64, NOT_A_STRING, NOT_AN_OBJECT, NOT_UNSIGNED
from mpserve.codec.strict_json import JsonValue, parse
from mpserve.errors import InvalidRequest, MalformedRequest
from mpserve.model.region import ClientRegion
from mpserve.model.request import Bytes

_CUDA_HANDLE_BYTES: Final = 64  # of a cudaIpcMemHandle_t


class RegionClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of the memory it registers."""

    key: str
    offset: int
    byte_size: int


def read_claim(body: Bytes) -> RegionClaim:
    """Read the body of a registration.

    Raises
    ------
    MalformedRequest
        Broken JSON, or a member of the wrong type.
    InvalidRequest
        A member is missing.
    """
    document = _members(body)
    key = _needed(document, "key")
    if not isinstance(key, str):
        raise MalformedRequest(NOT_A_STRING)
    return RegionClaim(
        key=key,
        offset=_unsigned(document.get("offset", 0)),
        byte_size=_unsigned(_needed(document, "byte_size")),
    )


def check_cuda_claim(body: Bytes) -> None:
    """Read the body of a registration of CUDA memory as the peer does; raises as `read_claim`."""
    document = _members(body)
    handle = _needed(document, "raw_handle")
    encoded = _present(handle if isinstance(handle, dict) else {}, "b64")
    if not isinstance(encoded, str):
        raise MalformedRequest(NOT_A_STRING)
    _unsigned(_present(document, "byte_size"))
    _unsigned(_present(document, "device_id"))
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        decoded = b""
    if len(decoded) != _CUDA_HANDLE_BYTES:
        raise InvalidRequest("'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")


def status_body(regions: Iterable[ClientRegion]) -> bytes:
    """Return the body that tells registrations."""
    return orjson.dumps(
        [
            {
                "name": region.name,
                "key": region.key,
                "offset": region.offset,
                "byte_size": region.byte_size,
            }
            for region in regions
        ]
    )


def _members(body: Bytes) -> dict[str, JsonValue]:
    """Return the members; what is no object has none, as for the peer."""
    document = parse(body)
    if isinstance(document, dict):
        return document
    if isinstance(document, list):
        return {}
    raise MalformedRequest(NOT_AN_OBJECT)


def _needed(document: dict[str, JsonValue], name: str) -> JsonValue:
    if name not in document:
        raise InvalidRequest(f"Shared memory register request has no '{name}' field")
    return document[name]


def _present(document: dict[str, JsonValue], name: str) -> JsonValue:
    if name not in document:
        raise MalformedRequest(f"attempt to access non-existing object member '{name}'")
    return document[name]


def _unsigned(value: JsonValue) -> int:
    if type(value) is not int or not 0 <= value <= MAX_UINT64:
        raise MalformedRequest(NOT_UNSIGNED)
    return value
