"""A wish that is being carried out, as `Actual` has it. Shapes only."""

import enum

import msgspec

from mpserve.errors import Failure
from mpserve.model.definition import ModelDefinition
from mpserve.model.identity import Generation, InstanceKey


class Check(enum.Enum):
    """Whether a model's folder is still as it was when a scan took it."""

    NOT_WANTED = "not wanted"
    DUE = "due"
    """Once everything has loaded."""
    RUNNING = "running"
    PASSED = "passed"
    CHANGED = "changed"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that is being carried out. A model has at most one.

    Attributes
    ----------
    generations
        New generations that must load.
    additions
        New instances of serving generations that must load.
    removals
        Instances of serving generations that end when all that must load has loaded.
    definition
        What will be served when all of them have; `None` for an unload.
    check
        A load that nobody synchronises with those who change the files is checked before it is
        published.
    published_in
        Number of the routing table that shows the result; `None` before. The wish is settled when
        all frontends have acknowledged it.
    failure
        Answer to the wish, when it failed.
    """

    wish: int
    definition: ModelDefinition | None
    generations: tuple[Generation, ...] = ()
    additions: tuple[InstanceKey, ...] = ()
    removals: tuple[InstanceKey, ...] = ()
    check: Check = Check.NOT_WANTED
    published_in: int | None = None
    failure: Failure | None = None
