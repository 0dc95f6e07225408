"""States of a model version, spelled as the wire spells them."""

import enum

import msgspec


class ModelState(enum.Enum):
    """Readiness of one model version, as the repository index shows it."""

    UNKNOWN = "UNKNOWN"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class IndexRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the repository index.

    Attributes
    ----------
    name
        Model name.
    version
        `None` for a model that was never loaded, or that has none.
    state
        `None` for a directory that was never loaded.
    reason
        Why the state is `UNAVAILABLE`; empty otherwise.
    """

    name: str
    version: str | None
    state: ModelState | None
    reason: str = ""
