"""The query of `GET /v2/repository/events`."""

from typing import Final
from urllib.parse import parse_qs

import msgspec

from mpserve.errors import InvalidRequest

MAX_DIGITS: Final = 18  # below 2**63, as numbers travel between processes
_NAMES: Final = frozenset({"model", "since"})


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a client wants: after number `since`, of one model or ("") of all."""

    model: str = ""
    since: int = 0


def read_event_query(target: bytes) -> EventQuery:
    """Read the query of a request target.

    Raises
    ------
    InvalidRequest
        `since` is no number, or a name is not known.
    """
    fields = parse_qs(target.partition(b"?")[2].decode("utf-8", "replace"), keep_blank_values=True)
    unknown = sorted(fields.keys() - _NAMES)
    if unknown:
        raise InvalidRequest(f"unknown query parameter '{unknown[0]}', use 'model' and 'since'")
    since = fields.get("since", ["0"])[-1]
    if not (since.isascii() and since.isdecimal() and len(since) <= MAX_DIGITS):
        raise InvalidRequest(f"'since' must be the number of an event, not '{since}'")
    return EventQuery(model=fields.get("model", [""])[-1], since=int(since))
