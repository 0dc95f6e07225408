"""How long a model may work on one execution, as its configuration says it."""

import math

from mpserve.errors import InvalidRequest


def execution_limit(value: object, *, where: str) -> float:
    """Return a limit in seconds, 0 for none.

    Parameters
    ----------
    value
        Number, or text of one.
    where
        What it is, for the error.

    Raises
    ------
    InvalidRequest
        It is no number of seconds.
    """
    try:
        seconds = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidRequest(f"{where} must be a number of seconds, 0 for no limit; got '{value}'")
    return seconds
