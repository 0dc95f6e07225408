# ruff: noqa: ANN401  # values are the users'
"""`custom_handler`: marks methods that are served at a path of their own."""

from collections.abc import Callable
from typing import Any, TypeVar

from mpserve.compat.mlserver.shape import Shape

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "__custom_handler__"


class CustomHandler(Shape):
    """Where a marked method is served."""

    rest_path: str
    rest_method: str = "POST"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[Method], Method]:
    """Mark a method of a model."""

    def mark(method: Method) -> Method:
        handler = CustomHandler(rest_path=rest_path, rest_method=rest_method)
        return register_custom_handler(handler, method)

    return mark


def register_custom_handler(handler: CustomHandler, method: Method) -> Method:
    """Mark a method with where it is served."""
    setattr(method, _MARK, handler)
    return method


def get_custom_handlers(model: Any) -> list[tuple[CustomHandler, Callable[..., Any]]]:
    """Return the marked methods of a model."""
    kind = type(model)
    names = [name for name in dir(kind) if hasattr(getattr(kind, name, None), _MARK)]
    return [(getattr(getattr(kind, name), _MARK), getattr(model, name)) for name in names]
