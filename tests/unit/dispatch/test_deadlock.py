"""Circles of calls: examples, and agreement with a simulation of what can still be answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpserve.dispatch.deadlock import CallStanding, InstanceStanding, Place, find_circle

NOW = 1000


def instance(generation, slot, *, caller=0, sent=0, busy=True, active=True, waits_from_ns=1):
    place = Place(generation, slot)
    return InstanceStanding(place, active, busy, caller, sent, 7, waits_from_ns if sent else 0)


def call(generation, caller, *, instance=-1, waiting=True, token=1):
    return CallStanding(generation, caller, token, waiting, instance)


def stuck(instances, calls, now_ns=NOW):
    return {one.place for one in find_circle(instances, calls, now_ns=now_ns).instances}


SELF = [instance(1, 0, caller=9, sent=1)]


def test_an_instance_that_waits_for_its_own_queue_is_stuck():
    circle = find_circle(SELF, [call(1, 9)], now_ns=NOW)
    assert {one.place for one in circle.instances} == {Place(1, 0)}
    assert circle.victim == SELF[0]


@pytest.mark.parametrize(
    ("instances", "calls"),
    [
        ([*SELF, instance(1, 1, busy=False)], [call(1, 9)]),
        ([*SELF, instance(1, 1)], [call(1, 9)]),
        ([instance(1, 0, caller=9, sent=1, busy=False)], [call(1, 9)]),
        (SELF, []),
        ([instance(1, 0, caller=9, sent=1, waits_from_ns=NOW + 1)], [call(1, 9)]),
        ([*SELF, instance(2, 0)], [call(2, 9, instance=0, waiting=False)]),
        (SELF, [call(2, 9)]),
        ([instance(1, 0, caller=9, sent=2)], [call(1, 9), call(2, 9, token=2)]),
        ([*SELF, instance(1, 1, busy=False)], [call(1, 9, instance=1)]),
    ],
    ids=[
        "another instance is free",
        "another instance executes",
        "it can take its own request",
        "its request is on its way",
        "it may still have other work",
        "its request is executed",
        "the instance for it is about to start",
        "one of its requests goes on",
        "the sequence is of another instance",
    ],
)
def test_who_may_still_be_answered_is_not_stuck(instances, calls):
    assert stuck(instances, calls) == set()


def test_a_retiring_instance_takes_nothing():
    leaving = instance(1, 1, busy=True, active=False)
    assert stuck([*SELF, leaving], [call(1, 9)]) == {Place(1, 0)}


def test_a_sequence_waits_for_its_instance_whoever_else_is_free():
    others = [*SELF, instance(1, 1, busy=False)]
    assert stuck(others, [call(1, 9, instance=0)]) == {Place(1, 0)}


def test_the_victim_is_who_waits_the_shortest_and_has_something_waiting():
    outer = instance(1, 0, caller=8, sent=1, waits_from_ns=900)
    inner = instance(2, 0, caller=9, sent=1, waits_from_ns=500)
    calls = [call(2, 8, instance=0, waiting=False), call(1, 9)]
    assert find_circle([outer, inner], calls, now_ns=NOW).victim == inner


@st.composite
def standings(draw):
    queues = draw(st.integers(1, 3))
    places = [(q, s) for q in range(queues) for s in range(draw(st.integers(1, 3)))]
    instances, calls = [], []
    for caller, (queue, slot) in enumerate(places, start=1):
        busy = draw(st.booleans())
        sent = draw(st.integers(0, 2)) if busy else 0
        instances.append(instance(queue, slot, caller=caller, sent=sent, busy=busy))
        for token in range(sent):
            target = draw(st.integers(0, queues - 1))
            runs = [s for q, s in places if q == target]
            if draw(st.booleans()):
                calls.append(call(target, caller, token=token))
            else:
                where = draw(st.sampled_from(runs))
                calls.append(call(target, caller, token=token, instance=where, waiting=False))
    return instances, calls


def until_nothing_moves(instances, calls):
    """Let everybody who can go on do so; return the instances as they are then, and the calls."""
    busy = {one.place: one for one in instances if one.is_busy}
    pending = list(calls)
    moved = True
    while moved:
        moved = False
        for place, one in list(busy.items()):
            if not any(c.caller == one.caller for c in pending):
                del busy[place]  # it answers what it executes
                pending = [c for c in pending if Place(c.generation, c.instance) != place]
                moved = True
        for one in instances:
            if one.place in busy:
                continue
            mine = [c for c in pending if c.generation == one.place.generation]
            able = [c for c in mine if c.instance in (-1, one.place.slot)]
            if able:  # it is free, takes one and answers it
                pending.remove(able[0])
                moved = True
    after = [
        one._replace(is_busy=one.place in busy, sent=sum(c.caller == one.caller for c in pending))
        for one in instances
    ]
    return after, pending


@given(standings())
def test_it_agrees_with_letting_everybody_go_on(standing):
    instances, calls = standing
    for one in instances:  # what runs at a place makes it busy
        if any(Place(c.generation, c.instance) == one.place for c in calls) and not one.is_busy:
            return
    after, pending = until_nothing_moves(instances, calls)
    left = {one.place for one in after if one.is_busy}
    assert stuck(instances, calls) <= left, "nobody who could go on is refused"
    assert stuck(after, pending) == left, "nobody who can not is left to hang"
