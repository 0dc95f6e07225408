"""Comma-separated names of the command line."""

from bench.errors import UsageError


def choose(wanted: str, known: tuple[str, ...], *, what: str) -> tuple[str, ...]:
    """Read a comma-separated list of names, each once, in the order given; 'all' means all.

    Raises
    ------
    UsageError
        A name is not known, or none is given.
    """
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    if names == ("all",):
        return known
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        shown = ", ".join(repr(name) for name in unknown) or "an empty list"
        raise UsageError(f"{shown} names no {what}; there are: {', '.join(known)}")
    return names
