# ruff: noqa: ANN401  # values are the users'
"""`custom_handler`: marks methods that are served at a path of their own."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "__custom_handler__"


class CustomHandler(msgspec.Struct, frozen=True):
    """Where a marked method is served."""

    rest_path: str
    rest_method: str = "POST"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[Method], Method]:
    """Mark a method of a model."""

    def mark(method: Method) -> Method:
        setattr(method, _MARK, CustomHandler(rest_path, rest_method))
        return method

    return mark


def get_custom_handlers(model: Any) -> list[tuple[CustomHandler, Callable[..., Any]]]:
    """Return the marked methods of a model."""
    kind = type(model)
    names = [name for name in dir(kind) if hasattr(getattr(kind, name, None), _MARK)]
    return [(getattr(getattr(kind, name), _MARK), getattr(model, name)) for name in names]
