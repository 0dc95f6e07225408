"""What there is: models, their generations, their instances, and what the frontends know.

Only `observation.observe` makes new ones from old ones.
"""

import enum
from collections.abc import Callable
from typing import Final, Self

import msgspec

from mpserve.errors import Failure
from mpserve.lifecycle.misfit import Misfit
from mpserve.lifecycle.operation_record import Operation
from mpserve.lifecycle.reasons import UNLOADED
from mpserve.lifecycle.restart import Deaths
from mpserve.lifecycle.transitions import SHOWN, SHOWN_ORDER, Phase
from mpserve.model.config import InstanceGroup, ModelConfig
from mpserve.model.definition import ModelDefinition, OwnSettings, VersionDefinition
from mpserve.model.identity import Generation, InstanceKey, ModelName, Version
from mpserve.model.state import ModelState
from mpserve.model.triton.completion import with_transactions


class InstancePhase(enum.Enum):
    """Where an instance is in its life."""

    PENDING = "pending"
    """Has no process yet."""
    STARTING = "starting"
    READY = "ready"
    SURPLUS = "surplus"
    """Ready, but no longer wanted: to be stopped."""
    STOPPING = "stopping"
    """Was told to end, or is ending by itself."""
    RESTING = "resting"
    """Died; has no process until `restart_at_ns`."""
    GIVEN_UP = "given_up"
    """Died too often; has no process."""


WITH_PROCESS: Final = frozenset(
    {InstancePhase.STARTING, InstancePhase.READY, InstancePhase.SURPLUS, InstancePhase.STOPPING}
)


_ANSWERING: Final = frozenset({InstancePhase.READY, InstancePhase.SURPLUS})


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a generation.

    Attributes
    ----------
    name
        `<group>_<k>`, given once and kept, also when its group is renamed.
    deadline_ns
        When it is killed unless it has loaded, or has ended when it was asked to (monotonic
        clock); 0 for never.
    failure
        Why it last failed to load or died.
    complaint
        Why its model says that it is not ready, else "".
    """

    key: InstanceKey
    name: str
    group: InstanceGroup
    phase: InstancePhase = InstancePhase.PENDING
    deaths: Deaths = Deaths()
    restart_at_ns: int = 0
    deadline_ns: int = 0
    failure: Failure | None = None
    complaint: str = ""

    @property
    def has_process(self) -> bool:
        """Whether a process of it is there, or may be there."""
        return self.phase in WITH_PROCESS


class GenerationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of a model version.

    Attributes
    ----------
    definition
        Model as it was wanted when this generation was made, or last updated in place.
    config, config_json
        Configuration in force; completed by the model once `is_completed`.
    attempt
        Counts the tries to load, from 1.
    wish
        Wish it was made for; also its place in the queue of loads.
    withdrawn_in
        Number of the first routing table that does not name it; 0 before, and for one that no
        table ever named.
    linger_until_ns
        When it goes though sequences go on in it, once it lingers (monotonic clock); 0 for never.
    is_quiet
        It lingers, and its last sequence has ended.
    failure
        Why it did not load, or can not serve any longer.
    """

    generation: Generation
    version: VersionDefinition
    definition: ModelDefinition
    phase: Phase
    wish: int
    config: ModelConfig
    config_json: str
    is_completed: bool
    instances: tuple[InstanceRecord, ...]
    attempt: int = 1
    withdrawn_in: int = 0
    linger_until_ns: int = 0
    is_quiet: bool = False
    failure: Failure | None = None

    def adapted(self, *, decoupled: bool) -> Self:
        """Return the same of an ensemble that has this transaction policy by its models."""
        if self.config.decoupled == decoupled:
            return self
        return msgspec.structs.replace(
            self,
            config=msgspec.structs.replace(self.config, decoupled=decoupled),
            config_json=with_transactions(self.config_json, decoupled=decoupled),
        )

    @property
    def name(self) -> ModelName:
        """Model's name."""
        return self.definition.name

    @property
    def settings(self) -> OwnSettings:
        """Settings that hold for this version."""
        return settings_of(self.definition, self.version)

    @property
    def is_ensemble(self) -> bool:
        """Whether it serves by the workers of other models, and has none of its own."""
        return self.config.ensemble is not None

    @property
    def has_process(self) -> bool:
        """Whether any instance may have a process."""
        return any(instance.has_process for instance in self.instances)

    @property
    def can_answer(self) -> bool:
        """Whether a request that reaches it would be executed."""
        return self.is_ensemble or any(one.phase in _ANSWERING for one in self.instances)

    def instance(self, key: InstanceKey) -> InstanceRecord | None:
        """Return the instance of `key`, if it is still there."""
        return next((one for one in self.instances if one.key == key), None)


def settings_of(definition: ModelDefinition, version: VersionDefinition) -> OwnSettings:
    """Return the settings that hold for `version`: its own, or the model's."""
    return version.own or OwnSettings(
        runtime=definition.runtime,
        config=definition.config,
        settings_json=definition.settings_json,
    )


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One model that was wanted at some time.

    Attributes
    ----------
    definition
        What is served, `None` when nothing is.
    settled
        Number of the last wish that was settled.
    reasons
        Versions that were there and are not available, each with the reason.
    misfit
        Why an ensemble waits for its models to change; `None` for one that does not.
    """

    name: ModelName
    definition: ModelDefinition | None = None
    generations: tuple[GenerationRecord, ...] = ()
    operation: Operation | None = None
    settled: int = 0
    reasons: dict[Version, str] = {}
    misfit: Misfit | None = None

    def serving(self, version: Version) -> GenerationRecord | None:
        """Return the generation of `version` that the routing table names, if there is one."""
        return next(
            (
                one
                for one in self.generations
                if one.phase is Phase.SERVING and one.version.version == version
            ),
            None,
        )

    def generation(self, number: Generation) -> GenerationRecord | None:
        """Return a generation by its number, if it is still there."""
        return next((one for one in self.generations if one.generation == number), None)

    def with_generation(self, record: GenerationRecord) -> Self:
        """Return the same with `record` in place of the one of its number."""
        return msgspec.structs.replace(
            self,
            generations=tuple(
                record if one.generation == record.generation else one for one in self.generations
            ),
        )

    @property
    def is_steady(self) -> bool:
        """Whether nothing goes on and nothing is to be decided."""
        return self.operation is None and all(_is_steady(one) for one in self.generations)

    @property
    def only_waits(self) -> bool:
        """Whether everything that is there waits for its turn to load; not so in an ensemble."""
        return (
            self.operation is not None
            and self.operation.published_in is None
            and bool(self.generations)
            and all(one.phase is Phase.QUEUED and not one.is_ensemble for one in self.generations)
        )


def _is_steady(record: GenerationRecord) -> bool:
    if record.is_ensemble:
        return record.phase is Phase.SERVING
    phases = {instance.phase for instance in record.instances}
    return (
        record.phase is Phase.SERVING
        and InstancePhase.READY in phases
        and phases <= {InstancePhase.READY, InstancePhase.GIVEN_UP}
    )


class ShownVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version as the outside sees it.

    Attributes
    ----------
    reason
        Why it is `UNAVAILABLE`, else "".
    generation
        Generation that serves it, when it is `READY`.
    config_json
        Configuration of that generation, else "".
    complaint
        Why it says that it is not ready though it takes requests, else "".
    """

    version: Version
    state: ModelState
    reason: str = ""
    generation: Generation | None = None
    config_json: str = ""
    complaint: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about a model's row in the routing table.

    Attributes
    ----------
    earlier
        Generations that were replaced and may hold sequences which go on in them.
    """

    versions: tuple[ShownVersion, ...] = ()
    earlier: tuple[Generation, ...] = ()


_NO_ROW: Final = Row()


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is.

    Attributes
    ----------
    rows
        What of each model decides about its row in the routing table.
    unsteady
        Models in which something goes on, but for those that only wait.
    waiting
        Models of which nothing is there but what waits for its turn to load.
    table_number
        Number of the routing table last published.
    acknowledged
        Highest number that all living frontends have acknowledged.
    changed
        Models whose row in the routing table may differ from what was published.
    unready
        Models with a version that is neither `READY` nor was unloaded because someone wanted so, or
        that complains.
    last_generation
        Highest generation ever given.
    held
        Generations that requests of ensembles still use in some frontend, though its table may not
        name them any more.
    """

    models: dict[ModelName, ModelRecord] = {}
    rows: dict[ModelName, Row] = {}
    unsteady: frozenset[ModelName] = frozenset()
    waiting: frozenset[ModelName] = frozenset()
    table_number: int = 0
    acknowledged: int = 0
    changed: frozenset[ModelName] = frozenset()
    unready: frozenset[ModelName] = frozenset()
    last_generation: int = 0
    held: frozenset[Generation] = frozenset()

    def with_changed(
        self,
        name: ModelName,
        number: Generation,
        change: Callable[[GenerationRecord], GenerationRecord],
    ) -> Self:
        """Return the same with a generation changed; what is not there any more is not changed."""
        model = self.models.get(name)
        record = model.generation(number) if model is not None else None
        if model is None or record is None:
            return self
        return self.with_model(model.with_generation(change(record)))

    def with_model(self, model: ModelRecord) -> Self:
        """Return the same with `model` in place of the one of its name."""
        name, row = model.name, _row(model)
        waits = model.only_waits
        placed = msgspec.structs.replace(
            self,
            models={**self.models, name: model},
            unsteady=_with(self.unsteady, name, when=not (waits or model.is_steady)),
            waiting=_with(self.waiting, name, when=waits),
        )
        if row == self.rows.get(name, _NO_ROW):
            return placed
        is_ready = all(_is_as_wanted(one) for one in row.versions)
        return msgspec.structs.replace(
            placed,
            rows={**self.rows, name: row},
            changed=self.changed | {name},
            unready=_with(self.unready, name, when=not is_ready),
        )


def _with(names: frozenset[ModelName], name: ModelName, *, when: bool) -> frozenset[ModelName]:
    if (name in names) is when:
        return names
    return names | {name} if when else names - {name}


def shown_versions(model: ModelRecord) -> tuple[ShownVersion, ...]:
    """Return every version of `model` that is or was there, ascending."""
    shown = {
        version: ShownVersion(version=version, state=ModelState.UNAVAILABLE, reason=reason)
        for version, reason in model.reasons.items()
    }
    # The phase that is shown first is written last, over the others of the same version.
    for one in sorted(model.generations, key=lambda one: -SHOWN_ORDER[one.phase]):
        if one.failure is None or one.phase not in _LEAVING:
            shown[one.version.version] = _shown(one)
    return tuple(shown[version] for version in sorted(shown, key=version_order))


def earlier_generations(model: ModelRecord) -> tuple[GenerationRecord, ...]:
    """Return those that were replaced and may hold sequences which go on in them, newest first."""
    if not any(one.phase is Phase.SERVING for one in model.generations):
        return ()
    kept = (one for one in model.generations if _keeps_sequences(one))
    return tuple(sorted(kept, key=lambda one: -one.generation))


def _keeps_sequences(record: GenerationRecord) -> bool:
    return (
        record.phase in _REPLACED
        and record.withdrawn_in > 0
        and record.failure is None
        and record.config.sequences is not None
        and record.can_answer
    )


_REPLACED: Final = frozenset({Phase.WITHDRAWN, Phase.LINGERING})


def _row(model: ModelRecord) -> Row:
    return Row(
        versions=shown_versions(model),
        earlier=tuple(one.generation for one in earlier_generations(model)),
    )


def version_order(version: Version) -> tuple[int, str]:
    """Return the key by which versions ascend: numbers by value, then words."""
    return (int(version), "") if version.isdecimal() else (-1, version)


_LEAVING: Final = frozenset({Phase.WITHDRAWN, Phase.LINGERING, Phase.DRAINING})


def _is_as_wanted(shown: ShownVersion) -> bool:
    if shown.state is ModelState.READY:
        return not shown.complaint
    return shown.reason == UNLOADED


def _shown(record: GenerationRecord) -> ShownVersion:
    version = record.version.version
    if record.phase is not Phase.SERVING:
        return ShownVersion(version=version, state=SHOWN[record.phase])
    return ShownVersion(
        version=version,
        state=ModelState.READY,
        generation=record.generation,
        config_json=record.config_json,
        complaint=next((one.complaint for one in record.instances if one.complaint), ""),
    )
