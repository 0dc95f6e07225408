"""Version numbers in requests, as Triton reads them: C's `stol`, then a range.

Source: triton.md 3.3 and 4.2.
"""

import re
from typing import Final

from mpserve.errors import InvalidRequest

MAX_VERSION: Final = (1 << 63) - 1

_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]*)", re.ASCII)
_EXPECTED: Final = "version should be an integral value > 0"


def version_number(text: str) -> str:
    """Return a version number without leading zeros; "" stays. No version is numbered 0.

    Raises
    ------
    InvalidRequest
        No number, a negative one, or one past 63 bits.
    """
    if not text:
        return text
    match = _NUMBER.match(text)
    assert match is not None  # all its parts may be empty
    sign, digits = match.groups()
    complaint = f"failed to get model version from specified version string '{text}'"
    if not match[0].strip(" \t\n\v\f\r+-") or _is_beyond(digits):
        raise InvalidRequest(f"{complaint} (details: stol), {_EXPECTED}")
    if not digits:
        return "0"
    if sign == "-":
        raise InvalidRequest(f"invalid model version specified '{text}' , {_EXPECTED}")
    return digits


def any_version(text: str) -> str:
    """Return the version as sent: MLServer's are words."""
    return text


def _is_beyond(digits: str) -> bool:
    return len(digits) > len(str(MAX_VERSION)) or (bool(digits) and int(digits) > MAX_VERSION)
