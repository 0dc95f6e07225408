"""How an operation begins, ends well, and ends badly: new model records from old ones.

Guarantees
    Until `commit`, nothing that serves is touched. `commit` swaps all versions at once.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from mpserve.errors import Failure
from mpserve.lifecycle.actual import (
    GenerationRecord,
    InstancePhase,
    InstanceRecord,
    ModelRecord,
    settings_of,
    shown_versions,
)
from mpserve.lifecycle.instance_set import instance_change, new_instances
from mpserve.lifecycle.operation_record import Check, Operation
from mpserve.lifecycle.reasons import UNLOADED, shown_reason
from mpserve.lifecycle.transitions import Phase, Turn, next_phase
from mpserve.lifecycle.wanted import Wish
from mpserve.model.definition import ModelDefinition, VersionDefinition
from mpserve.model.event import Origin
from mpserve.model.identity import Generation, VersionKey

replace = msgspec.structs.replace

UPDATABLE_KEYS = ("instance_group", "version_policy")
"""Members of the configuration whose change does not need a reload."""


def begin(model: ModelRecord, wish: Wish, *, last_generation: int) -> ModelRecord:
    """Return `model` with the operation that carries out `wish`, and what has to load for it."""
    if wish.definition is None:
        return replace(model, misfit=None, operation=Operation(wish=wish.number, definition=None))
    definition = wish.definition
    kept: dict[Generation, GenerationRecord] = {}
    new: list[GenerationRecord] = []
    for version in definition.versions:
        serving = model.serving(version.version)
        if serving is not None and _is_same(serving, definition, version):
            kept[serving.generation] = serving
        else:
            number = Generation(last_generation + len(new) + 1)
            new.append(_new_generation(definition, version, number, wish=wish.number))
    wanted = {one.version: settings_of(definition, one).config for one in definition.versions}
    changes = {
        number: instance_change(one, wanted[one.version.version]) for number, one in kept.items()
    }
    grown = tuple(
        replace(one, instances=(*one.instances, *changes[one.generation].additions))
        if one.generation in changes
        else one
        for one in model.generations
    )
    return replace(
        model,
        generations=(*grown, *new),
        misfit=None,
        operation=Operation(
            wish=wish.number,
            definition=definition,
            generations=tuple(one.generation for one in new),
            additions=tuple(each.key for one in changes.values() for each in one.additions),
            removals=tuple(key for one in changes.values() for key in one.removals),
            check=Check.DUE if wish.origin is Origin.POLL else Check.NOT_WANTED,
        ),
    )


def is_concluded(model: ModelRecord, operation: Operation) -> bool:
    """Return whether everything that had to load has loaded or failed."""
    return all(
        one.phase in {Phase.LOADED, Phase.FAILED} for one in new_generations(model, operation)
    ) and all(
        one.phase not in {InstancePhase.PENDING, InstancePhase.STARTING}
        for one in added_instances(model, operation)
    )


def failures(model: ModelRecord, operation: Operation) -> list[tuple[GenerationRecord, Failure]]:
    """Return the generations that did not load, or did not grow, each with the reason."""
    failed = [
        (one, one.failure)
        for one in new_generations(model, operation)
        if one.phase is Phase.FAILED and one.failure is not None
    ]
    for each in added_instances(model, operation):
        record = model.generation(each.key.generation)
        if each.phase is not InstancePhase.READY and each.failure is not None and record:
            failed.append((record, each.failure))
    return failed


def new_generations(model: ModelRecord, operation: Operation) -> Iterator[GenerationRecord]:
    """Return the generations made for `operation`."""
    return (one for one in model.generations if one.generation in operation.generations)


def added_instances(model: ModelRecord, operation: Operation) -> Iterator[InstanceRecord]:
    """Return the instances added to serving generations by `operation`."""
    return (
        each
        for one in model.generations
        for each in one.instances
        if each.key in operation.additions
    )


def commit(model: ModelRecord, *, next_table: int) -> ModelRecord:
    """Return `model` with everything swapped to what the operation wants.

    Parameters
    ----------
    next_table
        Number of the routing table that will show it first.
    """
    operation = model.operation
    assert operation is not None, "a commit without an operation"
    definition = operation.definition
    loaded = {one.version.version for one in new_generations(model, operation)}
    versions = definition.versions if definition is not None else ()
    wanted = {one.version for one in versions}
    generations: list[GenerationRecord] = []
    for one in model.generations:
        if one.generation in operation.generations:
            generations.append(replace(one, phase=next_phase(one.phase, Turn.COMMIT)))
        elif one.phase is Phase.LINGERING and definition is None:
            generations.append(_withdrawn(one, in_table=next_table))
        elif one.phase is not Phase.SERVING:
            generations.append(one)
        elif one.version.version in loaded or one.version.version not in wanted:
            generations.append(_withdrawn(one, in_table=next_table))
        else:
            assert definition is not None
            generations.append(_updated(one, definition, operation))
    swapped = replace(
        model,
        definition=definition,
        generations=tuple(generations),
        misfit=None,
        reasons={  # what is not wanted any more is not missed either
            key: text if key in wanted else UNLOADED
            for key, text in model.reasons.items()
            if key not in loaded
        },
    )
    # When the table stays as it is there is no next one to wait for.
    is_seen = shown_versions(swapped) != shown_versions(model)
    published = replace(operation, published_in=next_table if is_seen else 0)
    return replace(swapped, operation=published)


def abort(model: ModelRecord, failure: Failure) -> ModelRecord:
    """Return `model` with everything new on its way out, and everything that serves as it was."""
    operation = model.operation
    assert operation is not None, "an abort without an operation"
    reasons = dict(model.reasons)
    generations: list[GenerationRecord] = []
    for one in model.generations:
        if one.generation in operation.generations:
            if one.failure is not None:
                reasons[one.version.version] = shown_reason(one.failure)
            generations.append(_withdrawn(one, in_table=0))
        else:
            generations.append(_without(one, operation))
    return replace(
        model,
        generations=tuple(generations),
        reasons=reasons,
        operation=replace(operation, published_in=0, failure=failure),
    )


def checked(model: ModelRecord, check: Check) -> ModelRecord:
    """Return `model` with what is known about its folder."""
    assert model.operation is not None, "a check without an operation"
    return replace(model, operation=replace(model.operation, check=check))


def settle(model: ModelRecord, *, number: int) -> ModelRecord:
    """Return `model` with its operation at an end."""
    return replace(model, operation=None, settled=number)


def _is_same(
    serving: GenerationRecord, definition: ModelDefinition, version: VersionDefinition
) -> bool:
    """Equal content in an equal place; a worker that is restarted reads the place again."""
    return (
        serving.version.fingerprint == version.fingerprint
        and serving.version.directory == version.directory
        and serving.settings.runtime == settings_of(definition, version).runtime
    )


def _new_generation(
    definition: ModelDefinition, version: VersionDefinition, number: Generation, *, wish: int
) -> GenerationRecord:
    config = settings_of(definition, version).config
    key = VersionKey(name=definition.name, version=version.version)
    return GenerationRecord(
        generation=number,
        version=version,
        definition=definition,
        phase=Phase.QUEUED,
        wish=wish,
        config=config,
        config_json=definition.config_json,
        is_completed=not definition.auto_complete,
        instances=new_instances(key, number, config),
    )


def _withdrawn(record: GenerationRecord, *, in_table: int) -> GenerationRecord:
    phase = next_phase(record.phase, Turn.WITHDRAW)
    return replace(record, phase=phase, withdrawn_in=in_table)


def _updated(
    record: GenerationRecord, definition: ModelDefinition, operation: Operation
) -> GenerationRecord:
    """Return a generation that goes on serving, with the wanted instances and their description."""
    version = next(one for one in definition.versions if one.version == record.version.version)
    groups = settings_of(definition, version).config.instance_groups
    return replace(
        record,
        definition=definition,
        version=version,
        config=replace(record.config, instance_groups=groups),
        config_json=_updated_json(record.config_json, definition.config_json),
        instances=tuple(
            each
            for one in record.instances
            if (each := _surplus(one) if one.key in operation.removals else one) is not None
        ),
    )


def _without(record: GenerationRecord, operation: Operation) -> GenerationRecord:
    instances = tuple(
        each
        for one in record.instances
        if (each := _surplus(one) if one.key in operation.additions else one) is not None
    )
    return replace(record, instances=instances)


def _surplus(instance: InstanceRecord) -> InstanceRecord | None:
    """Return the instance as one to be stopped; `None` when it has no process."""
    if not instance.has_process:
        return None
    if instance.phase is InstancePhase.STOPPING:
        return replace(instance, failure=None)  # a failure would start it again
    return replace(instance, phase=InstancePhase.SURPLUS)


def _updated_json(completed: str, wanted: str) -> str:
    if not completed or not wanted or completed == wanted:
        return completed or wanted
    merged: dict[str, Any] = msgspec.json.decode(completed)
    changed: dict[str, Any] = msgspec.json.decode(wanted)
    merged.update({key: changed[key] for key in UPDATABLE_KEYS if key in changed})
    return msgspec.json.encode(merged).decode()
