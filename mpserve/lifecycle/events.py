"""What happened outside, told to the lifecycle in the past tense."""

import msgspec

from mpserve.errors import Failure
from mpserve.model.config import ModelConfig
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all events."""


class InstanceReady(Event, frozen=True, kw_only=True):
    """The worker has loaded its instance. `config` and `config_json` are the completed ones."""

    instance: InstanceKey
    config: ModelConfig
    config_json: str


class InstanceChecked(Event, frozen=True, kw_only=True):
    """A model that checks itself says why an instance is not ready, "" that it is."""

    instance: InstanceKey
    complaint: str


class InstanceFailed(Event, frozen=True, kw_only=True):
    """The model refused to load; its worker is about to end."""

    instance: InstanceKey
    failure: Failure


class InstanceEnded(Event, frozen=True, kw_only=True):
    """The worker's process is gone.

    Attributes
    ----------
    failure
        What a client is told when the end was not asked for.
    at_ns
        Monotonic clock.
    is_unborn
        There never was one: it is to be started, and nothing went wrong with the model.
    """

    instance: InstanceKey
    failure: Failure
    at_ns: int
    is_unborn: bool = False


class GenerationRefused(Event, frozen=True, kw_only=True):
    """A generation whose turn to load had come can not: there is no shared memory for its queue."""

    name: ModelName
    generation: Generation
    failure: Failure


class LoadRefused(Event, frozen=True, kw_only=True):
    """A load of these versions was asked for, and their configuration rules it out: none began."""

    name: ModelName
    versions: tuple[Version, ...]
    failure: Failure


class FolderChecked(Event, frozen=True, kw_only=True):
    """The folder of a model whose load is to be published has been looked at once more."""

    name: ModelName
    wish: int
    is_unchanged: bool


class SequencesEnded(Event, frozen=True, kw_only=True):
    """The last sequence of a lingering generation has ended, or was idle for too long."""

    name: ModelName
    generation: Generation


class TableAcknowledged(Event, frozen=True, kw_only=True):
    """All living frontends know the routing table of this number."""

    number: int


class GenerationsHeld(Event, frozen=True, kw_only=True):
    """These are all generations that requests of ensembles still use without being in the table."""

    generations: frozenset[Generation]
