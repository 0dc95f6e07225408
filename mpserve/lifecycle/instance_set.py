"""Which instances a generation has, and how that set follows a changed `instance_group`.

Source: Triton's update in place: an existing instance is kept for a wanted one of the same group
settings, whatever the group's name and count; kept instances keep their names.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from mpserve.lifecycle.actual import GenerationRecord, InstancePhase, InstanceRecord
from mpserve.model.config import InstanceGroup, ModelConfig
from mpserve.model.identity import Generation, InstanceKey, VersionKey


class InstanceChange(msgspec.Struct, frozen=True, kw_only=True):
    """How the instances of one generation become the wanted ones."""

    additions: tuple[InstanceRecord, ...] = ()
    removals: tuple[InstanceKey, ...] = ()


def new_instances(
    version: VersionKey, generation: Generation, config: ModelConfig
) -> tuple[InstanceRecord, ...]:
    """Return the instances of a new generation, none of them started."""
    return tuple(
        InstanceRecord(
            key=InstanceKey(
                name=version.name, version=version.version, generation=generation, index=index
            ),
            name=name,
            group=group,
        )
        for index, (name, group) in enumerate(_wanted(config, default_name=version.name))
    )


def instance_change(record: GenerationRecord, config: ModelConfig) -> InstanceChange:
    """Return what has to change for `record` to have the instances that `config` wants.

    A dead instance that waits for its restart counts as there; one that was given up does not, so
    that asking again starts it again.
    """
    free = [one for one in record.instances if one.phase not in _GOING]
    missing: list[tuple[str, InstanceGroup]] = []
    for name, group in _wanted(config, default_name=record.name):
        match = next((one for one in free if _same_settings(one.group, group)), None)
        if match is None:
            missing.append((name, group))
        else:
            free.remove(match)
    given_up = tuple(one.key for one in record.instances if one.phase is InstancePhase.GIVEN_UP)
    return InstanceChange(
        additions=tuple(_additions(record, missing)),
        removals=(*(one.key for one in free), *given_up),
    )


_GOING = frozenset({InstancePhase.SURPLUS, InstancePhase.STOPPING, InstancePhase.GIVEN_UP})


def _wanted(config: ModelConfig, *, default_name: str) -> Iterator[tuple[str, InstanceGroup]]:
    if config.ensemble is not None:
        return
    groups = config.instance_groups or (InstanceGroup(name=default_name),)
    for group in groups:
        for number in range(max(group.count, 1)):
            yield f"{group.name}_{number}", group


def _same_settings(one: InstanceGroup, other: InstanceGroup) -> bool:
    return msgspec.structs.replace(one, name="", count=1) == msgspec.structs.replace(
        other, name="", count=1
    )


def _additions(
    record: GenerationRecord, missing: Sequence[tuple[str, InstanceGroup]]
) -> Iterator[InstanceRecord]:
    """Give each missing instance the lowest free index, and a name that no other has."""
    taken = {one.key.index for one in record.instances}
    names = {one.name for one in record.instances}
    numbers: Counter[str] = Counter()
    for _, group in missing:
        index = next(index for index in range(len(taken) + 1) if index not in taken)
        taken.add(index)
        while (name := f"{group.name}_{numbers[group.name]}") in names:
            numbers[group.name] += 1
        names.add(name)
        key = InstanceKey(
            name=record.name,
            version=record.version.version,
            generation=record.generation,
            index=index,
        )
        yield InstanceRecord(key=key, name=name, group=group)
