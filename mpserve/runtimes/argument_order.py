"""Which argument of a PyTorch module an input is, and which result an output is. Pure.

Source: Triton's PyTorch backend, "Naming Convention": `<name>__<index>`; else the names of the
arguments of `forward`; else the order of the configuration. One of them holds for all inputs.
"""

import re
from collections.abc import Sequence
from typing import Final

from mpserve.errors import InvalidRequest

_INDEXED: Final = re.compile(r".+__(\d+)")


def argument_places(names: Sequence[str], arguments: Sequence[str]) -> list[int]:
    """Return the position of each input among the arguments.

    Parameters
    ----------
    names
        Of the inputs, in the order of the configuration.
    arguments
        Names of the arguments of `forward`.

    Raises
    ------
    InvalidRequest
        Two inputs are the same argument, or one is missing before the last.
    """
    places = _indices(names)
    if places is None and set(names) <= set(arguments):
        places = [arguments.index(name) for name in names]
    if places is None:
        places = list(range(len(names)))
    if sorted(places) != list(range(len(names))):
        raise InvalidRequest(
            f"inputs {', '.join(names)} are the arguments {', '.join(map(str, places))}; the model"
            " needs each from 0 on once"
        )
    return places


def output_place(name: str, names: Sequence[str]) -> int | None:
    """Return the position of an output among the results, `None` for an unknown one.

    Parameters
    ----------
    names
        Of the outputs of the configuration; empty when it declares none.
    """
    indices = _indices(names or [name])
    if indices is None:
        return names.index(name) if name in names else None
    return indices[names.index(name)] if name in names else None if names else indices[0]


def _indices(names: Sequence[str]) -> list[int] | None:
    """Return the numbers at the end of the names, `None` unless all have one."""
    found = [_INDEXED.fullmatch(name) for name in names]
    return [int(match[1]) for match in found if match] if all(found) else None
