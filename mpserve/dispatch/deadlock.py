"""Models that wait for each other in a circle: found from what the queues show. Pure.

An instance that executes can take nothing else. It is *stuck* when all requests that it sent are
stuck; a request that runs is stuck when its instance is, and one that waits when all instances that
could take it are. What is stuck once stays so, unless one of the requests is answered from outside.
So who sees the same circle twice, with nothing moved in between, knows that it is one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """One instance: the generation of its queue and its slot there."""

    generation: int
    slot: int


class InstanceStanding(NamedTuple):
    """What an instance is doing.

    Attributes
    ----------
    is_active
        It may take requests when it has done what it does.
    is_busy
        It executes something.
    caller
        Process index under which it sends requests; 0 when it never did.
    sent
        Requests that it waits for.
    changes
        Grows whenever `sent` changes.
    waits_from_ns
        From when on it may be taken to do nothing but wait; 0 when it does not wait.
    """

    place: Place
    is_active: bool
    is_busy: bool
    caller: int
    sent: int
    changes: int
    waits_from_ns: int


class CallStanding(NamedTuple):
    """Where a request of a model is.

    Attributes
    ----------
    instance
        That runs it, or alone may take it; -1 when it waits for any.
    """

    generation: int
    caller: int
    token: int
    is_waiting: bool
    instance: int


class Circle(NamedTuple):
    """Instances that wait for each other, and what they wait for."""

    instances: frozenset[InstanceStanding]
    calls: frozenset[CallStanding]

    @property
    def victim(self) -> InstanceStanding | None:
        """The one whose requests are refused, so that the others go on: who waits the shortest.

        Everybody who looks finds the same one.
        """
        waiting = {call.caller for call in self.calls if call.is_waiting}
        candidates = [one for one in self.instances if one.caller in waiting]
        return max(candidates, key=lambda one: (one.waits_from_ns, one.place), default=None)


def find_circle(
    instances: Iterable[InstanceStanding], calls: Iterable[CallStanding], *, now_ns: int
) -> Circle:
    """Return who is stuck; nobody, mostly."""
    known = {one.place: one for one in instances}
    sent: defaultdict[int, list[CallStanding]] = defaultdict(list)
    for call in calls:
        sent[call.caller].append(call)
    takers: defaultdict[int, set[Place]] = defaultdict(set)
    for one in known.values():
        if one.is_active:
            takers[one.place.generation].add(one.place)
    stuck = {
        place
        for place, one in known.items()
        if one.is_busy
        and 0 < one.waits_from_ns <= now_ns
        and 0 < one.sent == len(sent[one.caller])  # else one is on its way somewhere
    }
    while free := {
        place
        for place in stuck
        if any(_may_progress(call, stuck, takers) for call in sent[known[place].caller])
    }:
        stuck -= free
    members = frozenset(known[place] for place in stuck)
    return Circle(
        instances=members,
        calls=frozenset(call for one in members for call in sent[one.caller]),
    )


def _may_progress(call: CallStanding, stuck: set[Place], takers: Mapping[int, set[Place]]) -> bool:
    if call.instance >= 0:
        return Place(call.generation, call.instance) not in stuck
    able = takers.get(call.generation, set())
    return not able or not able <= stuck  # without any instance, one is on its way
