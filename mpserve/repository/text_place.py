"""Where in a configuration file a fault is, from the words that tell of it. Pure.

Parsers name a position; checks of what was parsed name a member, which is looked for in the text.
"""

import re
from typing import Final

_POSITION: Final = re.compile(r":(?P<line>[0-9]+):[0-9]+\)")
_BYTE: Final = re.compile(r"\(byte (?P<byte>[0-9]+)\)")
_JSON_PATH: Final = re.compile(r"at `(?:key in )?\$(?P<path>[^`]*)`")
_QUOTED: Final = re.compile(r"'([^']+)'")


def line_of(reason: str, *, text: str) -> int | None:
    """Return the line, from 1, that `reason` is about; `None` when that can not be told.

    Parameters
    ----------
    reason
        A message of `repository.triton.pbtxt`, of msgspec, or of a check, which quotes names.
    text
        Content of the configuration file.
    """
    if found := _POSITION.search(reason):
        return int(found["line"])
    if found := _BYTE.search(reason):
        return text.encode()[: int(found["byte"])].count(b"\n") + 1
    if found := _JSON_PATH.search(reason):
        return _line_of_path(found["path"], text)
    return _line_of_word(reason, text)


def _line_of_path(path: str, text: str) -> int | None:
    """Follow a path such as `.parameters.uri` through the text, as far as it is certain.

    msgspec does not tell which element of a list it means: the list's own line is returned then.
    """
    place = -1
    for member in path.partition("[")[0].strip(".").split("."):
        found = _member(member, text, start=place + 1)
        if not member or found < 0:
            break
        place = found
    return _line_at(text, place)


def _line_of_word(reason: str, text: str) -> int | None:
    """Look for the names that a message quotes, the first that the text has."""
    for word in _QUOTED.findall(reason):
        found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
        if found:
            return _line_at(text, found.start())
    return None


def _member(name: str, text: str, *, start: int) -> int:
    return text.find(f'"{name}"', max(start, 0))


def _line_at(text: str, place: int) -> int | None:
    return None if place < 0 else text.count("\n", 0, place) + 1
