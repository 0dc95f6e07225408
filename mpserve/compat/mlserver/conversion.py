# ruff: noqa: ANN401  # values are the users'
"""Conversion of a value to the declared type of a member.

Rules are pydantic's lax ones as far as MLServer's types show them: numbers from numeric text, lists
from tuples and arrays, enums by value, shapes from mappings; text from nothing but text.
"""

import enum
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Self, Union, get_args, get_origin

import numpy as np

Convert = Callable[[Any], Any]


_NO_VALUE: Final = object()


class Problem(Exception):
    """One value that does not fit, with the way to it; pydantic's words and kinds."""

    def __init__(
        self,
        message: str,
        *,
        value: Any = _NO_VALUE,
        location: tuple[str | int, ...] = (),
        kind: str = "type_error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.kind = kind
        self._value = value

    def inside(self, member: str | int) -> Self:
        """Return the problem as seen from the owner of `member`."""
        location = (member, *self.location)
        return type(self)(self.message, value=self._value, location=location, kind=self.kind)

    def value_in(self, given: Any) -> Any:
        """Return the value that does not fit; `given`, the whole, for a member that is missing."""
        return given if self._value is _NO_VALUE else self._value

    def __str__(self) -> str:
        shown = "" if self._value is _NO_VALUE else f", not {_shown(self._value)}"
        return f"{'.'.join(map(str, self.location))}\n  {self.message}{shown}"


def converter(hint: Any) -> Convert:
    """Return the function that makes a value of type `hint` or raises `Problem`."""
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return _union([converter(arm) for arm in get_args(hint)])
    if origin is list:
        return _list_of(converter(get_args(hint)[0]))
    if origin is dict or hint is dict:
        return _mapping
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum_value(hint)
    if hasattr(hint, "model_validate"):
        return _shape(hint)
    return _SCALARS.get(hint, _unchanged)


def _unchanged(value: Any) -> Any:
    return value


def _none(value: Any) -> None:
    if value is not None:
        raise Problem("Input should be None", value=value, kind="none_required")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise Problem("Input should be a valid string", value=value, kind="string_type")


def _integer(value: Any) -> int:
    message = "Input should be a valid integer"
    if isinstance(value, float) and not value.is_integer():
        message += ", got a number with a fractional part"
        raise Problem(message, value=value, kind="int_from_float")
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise _unread(message, "int", "an integer", value) from error


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise _unread("Input should be a valid number", "float", "a number", value) from error


def _unread(message: str, kind: str, what: str, value: Any) -> Problem:
    """Return the problem of a number, which a text may stand for."""
    if not isinstance(value, str | bytes):
        return Problem(message, value=value, kind=f"{kind}_type")
    message += f", unable to parse string as {what}"
    return Problem(message, value=value, kind=f"{kind}_parsing")


_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False}
_TRUTH |= {"no": False, "off": False}


def _boolean(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    word = str(value).lower()
    if word not in _TRUTH:
        raise Problem("Input should be a valid boolean", value=value, kind="bool_type")
    return _TRUTH[word]


_SCALARS: dict[Any, Convert] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    type(None): _none,
}


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Problem("Input should be a valid dictionary", value=value, kind="dict_type")
    return dict(value)


def _list_of(convert: Convert) -> Convert:
    def convert_list(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple | np.ndarray):
            raise Problem("Input should be a valid list", value=value, kind="list_type")
        converted = []
        for index, item in enumerate(value):
            try:
                converted.append(convert(item))
            except Problem as problem:
                raise problem.inside(index) from None
        return converted

    return convert_list


def _enum_value(kind: type[enum.Enum]) -> Convert:
    words = [member.value for member in kind]
    wanted = f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"

    def convert_enum(value: Any) -> Any:
        word = value.value if isinstance(value, kind) else value
        if word not in words:
            raise Problem(f"Input should be {wanted}", value=value, kind="enum")
        return word

    return convert_enum


def _shape(kind: Any) -> Convert:
    def convert_shape(value: Any) -> Any:
        try:
            return kind.model_validate(value)
        except ValueError as error:
            problems = getattr(error, "_problems", None)
            if not problems:
                raise
            raise problems[0] from error

    return convert_shape


def _union(arms: list[Convert]) -> Convert:
    def convert_union(value: Any) -> Any:
        problems = []
        for arm in arms if value is not None else reversed(arms):
            try:
                return arm(value)
            except Problem as problem:
                problems.append(problem)
        raise problems[0]

    return convert_union


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
