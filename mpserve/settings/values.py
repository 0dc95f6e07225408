"""Texts of flags and variables turned into values, by Triton's rules and with its words.

Source: the option parser of `tritonserver` (C `stoi` family, `getopt_long`).
"""

import re
from typing import Final

from mpserve.errors import ConfigError


class BadValue(ConfigError):
    """A text that does not fit; the message is the reason alone, without the flag's name.

    `detail` is added to the flag's name where the reason is told (`trace-config level`).
    """

    def __init__(self, reason: str, *, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


_WORDS: Final = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_NUMBER: Final = re.compile(
    r"[ \t\n\v\f\r]*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
)
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1


def parse_bool(text: str) -> bool:
    """Return the truth value of `true`, `on`, `1` and their opposites, in any case."""
    value = _WORDS.get(text.lower())
    if value is None:
        raise BadValue(f"invalid value for bool option: {text}")
    return value


def parse_integer(text: str, *, largest: int = INT32_MAX) -> int:
    """Return the leading integer of `text`: `12abc` is 12, as C's `stoi` reads it.

    Raises
    ------
    BadValue
        No leading integer, or it lies outside `-largest - 1 … largest`.
    """
    match = _INTEGER.match(text)
    if match is None:
        raise BadValue(f"Invalid option value. Got {text}")
    value = int(match[1]) if len(match[1]) < 40 else largest + 1
    if not -largest - 1 <= value <= largest:
        raise BadValue(f"Provided option value is out of bound. Got {text}")
    return value


def parse_number(text: str) -> float:
    """Return the leading decimal number of `text`, as C's `stod` reads it."""
    match = _NUMBER.match(text)
    if match is None:
        raise BadValue(f"Invalid option value. Got {text}")
    return float(match[1])


def parse_verbosity(text: str) -> int:
    """Return the level of `--log-verbose`: a number, or `true` (1) or `false` (0)."""
    if text.lower() in {"true", "false"}:
        return int(parse_bool(text))
    return parse_integer(text)


def parse_choice(text: str, *, choices: tuple[str, ...], ignore_case: bool, complaint: str) -> str:
    """Return the member of `choices` that `text` names; `complaint` is the reason otherwise."""
    if ignore_case:
        text = text.lower()
    if text not in choices:
        raise BadValue(complaint)
    return text
