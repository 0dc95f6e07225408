"""Command-line words sorted into flags and the rest, as GNU `getopt_long` does for Triton.

`--flag value` and `--flag=value`, unambiguous prefixes, flags and other words in any order, `--`
ends the flags. Nothing is interpreted here beyond the names.
"""

from collections.abc import Sequence

import msgspec

from mpserve.errors import ConfigError
from mpserve.settings.flags import Flag, Kind


class UsageError(ConfigError):
    """The command line can not be understood; told after the usage text."""


class HelpWanted(Exception):  # an outcome, not a fault
    """`--help` was given."""


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line says.

    Attributes
    ----------
    texts
        Flag name -> the texts it was given, in order. A switch has the text "true".
    words
        What belongs to no flag.
    """

    texts: dict[str, tuple[str, ...]]
    words: tuple[str, ...]


def sort_arguments(arguments: Sequence[str], *, flags: Sequence[Flag]) -> Arguments:
    """Sort the words of a command line.

    Raises
    ------
    HelpWanted
        `--help` comes before any fault.
    UsageError
        An unknown or ambiguous flag, or one whose text is missing or out of place.
    """
    names = _names(flags)
    texts: dict[str, tuple[str, ...]] = {}
    words: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--":
            words += left
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        flag, text = _take(word, left, names=names)
        texts[flag.name] = (*texts.get(flag.name, ()), text)
    return Arguments(texts=texts, words=tuple(words))


def _names(flags: Sequence[Flag]) -> dict[str, Flag | None]:
    """Return every name and alias; `help` belongs to no row."""
    names: dict[str, Flag | None] = {"help": None}
    for flag in flags:
        names[flag.name] = flag
        if flag.alias:
            names[flag.alias] = flag
    return names


def _take(word: str, left: list[str], *, names: dict[str, Flag | None]) -> tuple[Flag, str]:
    """Return the flag that `word` names and its text, taken from `left` when it stands apart."""
    if not word.startswith("--"):
        raise UsageError(f"invalid option -- '{word[1]}'; all options start with two dashes")
    name, equals, text = word[2:].partition("=")
    flag = names[_full_name(name, names=names)]
    if flag is None:
        raise HelpWanted
    if flag.kind is Kind.SWITCH:
        if equals:
            raise UsageError(f"option '--{flag.name}' doesn't allow an argument")
        return flag, "true"
    if equals:
        return flag, text
    if not left:
        raise UsageError(f"option '--{flag.name}' requires an argument")
    return flag, left.pop(0)


def _full_name(name: str, *, names: dict[str, Flag | None]) -> str:
    """Return the name that `name` is, or is the beginning of."""
    if name in names:
        return name
    candidates = [candidate for candidate in names if name and candidate.startswith(name)]
    if len({id(names[candidate]) for candidate in candidates}) == 1:
        return candidates[0]
    if candidates:
        listed = " ".join(f"'--{candidate}'" for candidate in candidates)
        raise UsageError(f"option '--{name}' is ambiguous; possibilities: {listed}")
    raise UsageError(f"unrecognized option '--{name}'{_suggestion(name, names)}")


def _suggestion(name: str, names: dict[str, Flag | None]) -> str:
    import difflib  # noqa: PLC0415  # only to help after a mistake

    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean '--{near[0]}'?" if near else ""
