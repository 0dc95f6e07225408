"""Typed access to parsed JSON, refusing with the words of Triton's JSON reader.

Each function takes what was parsed and the name that the message tells; a value of another type is
a `MalformedRequest`. Integers are those that were written without a fraction and fit 64 bits: `1.0`
is not an integer for the peer either.
"""

from typing import Final

from mpserve.codec.strict_json import JsonValue
from mpserve.errors import MalformedRequest

MAX_UINT64: Final = (1 << 64) - 1
MAX_INT64: Final = (1 << 63) - 1

NOT_AN_ARRAY: Final = "attempt to access JSON non-array as array"
NOT_AN_OBJECT: Final = "attempt to access JSON non-object as object"
NO_MEMBERS: Final = "attempt to get members for non-object"
NOT_A_STRING: Final = "attempt to access JSON non-string as string"
NOT_A_BOOLEAN: Final = "attempt to access JSON non-boolean as boolean"
NOT_A_NUMBER: Final = "attempt to access JSON non-number as double"
NOT_UNSIGNED: Final = "attempt to access JSON non-unsigned-integer as unsigned-integer"
NOT_SIGNED: Final = "attempt to access JSON non-signed-integer as signed-integer"


def unparsable(name: str, reason: str) -> MalformedRequest:
    """Return the error for member `name`."""
    return MalformedRequest(f"Unable to parse '{name}': {reason}")


def member(container: dict[str, JsonValue], name: str) -> JsonValue:
    """Return a member that must be there."""
    if name not in container:
        raise unparsable(name, f"attempt to access non-existing object member '{name}'")
    return container[name]


def as_object(value: JsonValue, name: str) -> dict[str, JsonValue]:
    """Return `value`, which must be an object."""
    if not isinstance(value, dict):
        raise unparsable(name, NOT_AN_OBJECT)
    return value


def as_array(value: JsonValue, name: str) -> list[JsonValue]:
    """Return `value`, which must be an array."""
    if not isinstance(value, list):
        raise unparsable(name, NOT_AN_ARRAY)
    return value


def as_string(value: JsonValue, name: str) -> str:
    """Return `value`, which must be a string."""
    if not isinstance(value, str):
        raise unparsable(name, NOT_A_STRING)
    return value


def as_bool(value: JsonValue, name: str) -> bool:
    """Return `value`, which must be true or false."""
    if not isinstance(value, bool):
        raise unparsable(name, NOT_A_BOOLEAN)
    return value


def as_unsigned(value: JsonValue, name: str) -> int:
    """Return `value`, which must be an integer from 0 to 2^64 - 1."""
    if type(value) is not int or not 0 <= value <= MAX_UINT64:
        raise unparsable(name, NOT_UNSIGNED)
    return value
