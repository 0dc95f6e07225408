"""What happened to the models of a server, as `GET /v2/repository/events` tells it."""

import enum

import msgspec

from mpserve.model.state import ModelState


class Origin(enum.Enum):
    """Who or what made a state change."""

    START = "start"
    """The server loads what it is to serve from the beginning."""
    CLIENT = "client"
    """A load or unload call."""
    POLL = "poll"
    """A change of the repository was seen."""
    CRASH = "crash"
    """A worker died, or is started again after it died."""
    SHUTDOWN = "shutdown"
    """The server ends."""


class RepositoryEvent(msgspec.Struct, frozen=True, kw_only=True, rename={"from_state": "from"}):
    """One transition of a generation of a model version, or of one instance of it that serves.

    Or a model that should have been loaded and can not be read: then nothing changed.

    Attributes
    ----------
    number
        Grows by one with each event, from 1 at the start of the server.
    at_unix_ns
        Wall time.
    generation
        Grows with every (re)load; a reload is a new one, beside the one that serves. 0 for a model
        that can not be read.
    instance
        Index of the instance; `None` when the whole generation is meant.
    asked_by
        Who made it happen.
    from_state, to
        `None` before the first state, and where nothing changed.
    took_ms
        How long it was in `from_state`; 0 when there was none.
    why
        Reason, where there is one: of a failure, a death, an end.
    """

    number: int
    at_unix_ns: int
    model: str
    version: str
    generation: int
    instance: int | None
    asked_by: Origin
    from_state: ModelState | None
    to: ModelState | None
    took_ms: int
    why: str


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events in their order, oldest first.

    Attributes
    ----------
    first
        Number of the oldest event that the server still knows; what was before it is forgotten.
    last
        Number of the latest event, 0 when there is none: what to ask for next as `since`.
    """

    first: int
    last: int
    events: tuple[RepositoryEvent, ...]
