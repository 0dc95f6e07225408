r"""Patterns of header names to forward: RE2's common subset, and only what is quick to match.

Triton matches with RE2, whose time is linear in the name. Python's `re` tries alternatives one
after the other, so a pattern is taken only when the number of ways to try it is bounded: its
*cost*, for a name of `MAX_NAME_BYTES`, must not exceed `MAX_COST`. What RE2 does not know
(references, looking around) and what it reads in another way (`[[:alpha:]]`) is refused.

The cost of a sequence is the product, of alternatives the sum; `x?` costs one more than `x`, and a
repetition of a single character one for each length of the name.

Guarantees: a name of any client is decided in at most `MAX_COST` steps.
Source: https://github.com/google/re2/wiki/Syntax
"""

import re
from typing import Final

from mpserve.settings.values import BadValue

MAX_NAME_BYTES: Final = 64  # longer names are forwarded by no pattern
MAX_COST: Final = MAX_NAME_BYTES**3  # two unbounded repetitions that may start anywhere

_FORBIDDEN: Final = {
    r"\\[1-9]|\(\?P=": "references to groups",
    r"\(\?<?[=!]": "looking ahead or behind",
    r"\(\?>|[*+?}]\+": "atomic groups and possessive repetitions",
    r"\(\?\(": "conditional groups",
    r"\[:": "POSIX classes",
}
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_REPETITION: Final = re.compile(r"(?:([*+?])|\{(\d+)(,?)(\d*)\})\??")
_GROUP_HEAD: Final = re.compile(r"\((?:\?(?:P?<\w+>|[a-zA-Z-]*:|[a-zA-Z-]+(?=\))))?")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")


def compile_header_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern, to be used with `search` on names of at most `MAX_NAME_BYTES`.

    Raises
    ------
    BadValue
        It is no pattern, or one whose time has no small bound.
    """
    plain = _ESCAPED.sub(lambda found: found.group() if found.group()[1].isdigit() else "x", text)
    for forbidden, what in _FORBIDDEN.items():
        if re.search(forbidden, plain):
            raise BadValue(f"--http-header-forward-pattern: {what} can not be used, got {text}")
    try:
        pattern = re.compile(text, re.IGNORECASE | re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadValue(f"--http-header-forward-pattern: {error}, got {text}") from error
    if MAX_NAME_BYTES * _Cost(text).whole() > MAX_COST:
        raise BadValue(
            "--http-header-forward-pattern: too many ways to match a name; use fewer repetitions "
            f"and none of groups that vary, got {text}"
        )
    return pattern


def check_header_pattern(texts: tuple[str, ...]) -> None:
    """Check the values of a flag; "" forwards nothing."""
    for text in texts:
        if text:
            compile_header_pattern(text)


class _Cost:
    """Counts the ways in which a pattern, known to be valid, can match a name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> int:
        return self._alternatives()

    def _alternatives(self) -> int:
        total, sequence = 0, 1
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                total, sequence = total + sequence, 1
            else:
                sequence = min(sequence * self._repeated(self._atom()), MAX_COST + 1)
        return total + sequence

    def _atom(self) -> int:
        head = _GROUP_HEAD.match(self._text, self._at)
        if head is not None:
            self._at = head.end()
            cost = self._alternatives()
            self._at += 1  # the closing parenthesis
            return cost
        found = _CLASS.match(self._text, self._at) or _ESCAPED.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at + 1
        return 1

    def _repeated(self, cost: int) -> int:
        found = _REPETITION.match(self._text, self._at)
        if found is None:
            return cost
        self._at = found.end()
        sign, least, comma, most = found.groups()
        if sign == "?":
            return cost + 1
        if sign is None and not comma:
            return int(cost ** min(int(least), MAX_NAME_BYTES))
        if cost > 1:
            return MAX_COST + 1  # the same part of a name could be divided in too many ways
        span = int(most) - int(least) + 1 if most else MAX_NAME_BYTES
        return min(span, MAX_NAME_BYTES)
