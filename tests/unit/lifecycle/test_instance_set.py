import msgspec

from mpserve.lifecycle.actual import InstancePhase
from mpserve.lifecycle.instance_set import instance_change, new_instances
from mpserve.model.config import InstanceGroup, InstanceKind, ModelConfig
from mpserve.model.identity import VersionKey
from tests.unit.lifecycle.simulation import Simulation, define

VERSION = VersionKey(name="m", version="1")


def config(*groups):
    return ModelConfig(instance_groups=groups)


def record_with(definition):
    world = Simulation()
    world.serve(definition)
    return world.actual.models["m"].generations[0]


def names(instances):
    return [one.name for one in instances]


def test_instances_are_named_after_their_group_and_numbered_over_all_groups():
    groups = (InstanceGroup(name="a", count=2), InstanceGroup(name="b", count=1))
    instances = new_instances(VERSION, 5, config(*groups))
    assert names(instances) == ["a_0", "a_1", "b_0"]
    assert [one.key.index for one in instances] == [0, 1, 2]
    assert {one.key.generation for one in instances} == {5}


def test_a_model_without_groups_has_one_instance_named_after_it():
    assert names(new_instances(VERSION, 1, config())) == ["m_0"]


def test_a_count_of_zero_is_taken_as_one():
    group = InstanceGroup(name="g", count=0)
    assert len(new_instances(VERSION, 1, config(group))) == 1


def test_splitting_a_group_changes_nothing():
    record = record_with(define(count=3, group="g"))
    groups = (InstanceGroup(name="x", count=1), InstanceGroup(name="y", count=2))
    change = instance_change(record, config(*groups))
    assert change.additions == ()
    assert change.removals == ()


def test_another_kind_of_instance_replaces_the_old_one():
    record = record_with(define(count=1))
    change = instance_change(record, config(InstanceGroup(name="g", kind=InstanceKind.MODEL)))
    assert len(change.removals) == 1
    (added,) = change.additions
    assert added.group.kind is InstanceKind.MODEL
    assert added.key.index == 1


def test_an_added_instance_takes_the_lowest_free_index_and_a_free_name():
    record = record_with(define(count=3, group="g"))
    kept = tuple(one for one in record.instances if one.key.index != 1)
    record = msgspec.structs.replace(record, instances=kept)
    change = instance_change(record, config(InstanceGroup(name="g", count=4)))
    assert [(one.key.index, one.name) for one in change.additions] == [(1, "g_1"), (3, "g_3")]


def test_an_instance_that_was_given_up_is_replaced():
    record = record_with(define(count=1))
    given_up = msgspec.structs.replace(record.instances[0], phase=InstancePhase.GIVEN_UP)
    record = msgspec.structs.replace(record, instances=(given_up,))
    change = instance_change(record, config(InstanceGroup(name="g", count=1)))
    assert len(change.additions) == 1
    assert change.removals == (given_up.key,)
