# ruff: noqa: ANN401  # keys and rules are the users'
"""Which members of nested shapes are dumped: the rules `include` and `exclude` take.

A rule is a set of names, or maps a name to `True`, `...` or a rule of its own. Of a list, names are
places, and `"__all__"` stands for each.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

Rule = Collection[Any] | Mapping[Any, Any] | None

_EACH: Final = "__all__"
_WHOLE: Final = (True, ...)


class Selection:
    """What is dumped of one value."""

    __slots__ = ("exclude", "include")

    def __init__(self, include: Rule = None, exclude: Rule = None) -> None:
        self.include = include
        self.exclude = exclude

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is left out."""
        return self.include is None and self.exclude is None

    def part(self, key: Any) -> "Selection | None":
        """Return what is dumped of a member, `None` where it is left out."""
        if self.is_whole:
            return self
        include = None
        if self.include is not None:
            said = _said_of(key, self.include)
            if said is None:
                return None
            include = None if said in _WHOLE else said
        said = None if self.exclude is None else _said_of(key, self.exclude)
        if said in _WHOLE:
            return None
        return Selection(include, said) if include is not None or said is not None else EVERYTHING


EVERYTHING: Final = Selection()


def _said_of(key: Any, rule: Collection[Any]) -> Any:
    """Return `True` or `...` where a rule means all of a member, a rule of it, or `None`."""
    if not isinstance(rule, Mapping):
        return True if key in rule or _EACH in rule else None
    return rule.get(key, rule.get(_EACH)) or None
