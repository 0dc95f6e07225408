"""How much memory a worker of a model may have, as the model's configuration says it."""

from mpserve.errors import InvalidRequest


def memory_limit(value: object, *, where: str) -> int:
    """Return a limit in MiB, 0 for none.

    Parameters
    ----------
    value
        Whole number, or text of one.
    where
        What it is, for the error.

    Raises
    ------
    InvalidRequest
        It is no whole number of MiB.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    raise InvalidRequest(f"{where} must be a whole number of MiB, 0 for no limit; got '{value}'")
