"""A discrete-event simulation of a model queue: the native one, driven by a clock of the test's.

Clients send, give up, and wait no longer than their policy lets them; instances take batches, are
busy with them for a while, and sleep until they are woken or their time has come. After each event
the queue is compared with a list that is kept beside it.
"""

import heapq
from collections.abc import Iterator
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpserve._native import QueueProbe
from mpserve.model.config import QueuePolicies, QueuePolicy
from mpserve.shm.model_queue import ModelQueue
from mpserve.shm.server_id import claim_server_id, release_server_id

MS = 1_000_000
SLOTS = 64


class Rule(msgspec.Struct, frozen=True):
    """How batches are made."""

    max_rows: int
    max_requests: int
    delay_ms: int
    preferred: tuple[int, ...]


class Arrival(msgspec.Struct, frozen=True):
    """A request, and when its client gives up; `None`: never."""

    at_ms: int
    rows: int
    shape: int
    priority: int
    timeout_ms: int
    patience_ms: int | None


class World(msgspec.Struct, frozen=True):
    """What a simulation is made of."""

    policies: QueuePolicies
    rule: Rule
    service_ms: list[int]  # one instance each
    arrivals: list[Arrival]


class Waiting(msgspec.Struct):
    """A request as the list beside the queue has it."""

    token: int
    arrival: Arrival
    level: int
    policy: QueuePolicy
    at_ns: int
    deadline_ns: int
    place: int
    is_delayed: bool = False

    @property
    def order(self) -> tuple[int, bool, int]:
        return self.level, self.is_delayed, self.place


policies = st.builds(
    QueuePolicy,
    max_queue_size=st.sampled_from([0, 0, 1, 2, 5]),
    default_timeout_us=st.sampled_from([0, 0, 2000, 7000]),
    allow_timeout_override=st.booleans(),
    delay_on_timeout=st.booleans(),
)


@st.composite
def worlds(draw) -> World:
    levels = draw(st.integers(0, 3))
    max_rows = draw(st.integers(1, 6))
    return World(
        policies=QueuePolicies(
            priority_levels=levels,
            default_level=draw(st.integers(1, levels)) if levels else 0,
            general=draw(policies),
            by_level=draw(st.dictionaries(st.integers(1, levels), policies)) if levels else {},
        ),
        rule=Rule(
            max_rows=max_rows,
            max_requests=draw(st.integers(1, 6)),
            delay_ms=draw(st.sampled_from([0, 0, 3, 10])),
            preferred=tuple(sorted(draw(st.sets(st.integers(1, max_rows), max_size=3)))),
        ),
        service_ms=draw(st.lists(st.integers(1, 8), min_size=1, max_size=3)),
        arrivals=draw(
            st.lists(
                st.builds(
                    Arrival,
                    at_ms=st.integers(0, 30),
                    rows=st.integers(1, 4),
                    shape=st.sampled_from([0, 0, 0, 1]),
                    priority=st.integers(0, 4),
                    timeout_ms=st.sampled_from([0, 0, 1, 4]),
                    patience_ms=st.sampled_from([None, None, None, 0, 2, 9]),
                ),
                min_size=1,
                max_size=40,
            )
        ),
    )


class Simulation:
    """The queue, the list beside it, and what is still to happen."""

    def __init__(self, world: World, queue: ModelQueue) -> None:
        self.world = world
        self.queue = queue
        self.probe = QueueProbe(queue.native)
        self.now = 1  # the monotonic clock is never 0
        self.waiting: dict[int, Waiting] = {}
        self.ended: dict[int, str] = {}
        self.places = count()
        self.events: list[tuple[int, int, str, int]] = []
        self.numbers = count()
        self.asleep: dict[int, tuple[int, int]] = {}  # instance -> its word, when it looks again
        self.held: dict[int, list[int]] = {}

    def at(self, when_ns: int, what: str, whom: int) -> None:
        heapq.heappush(self.events, (when_ns, next(self.numbers), what, whom))

    def run(self) -> None:
        for token, arrival in enumerate(self.world.arrivals):
            self.at(1 + arrival.at_ms * MS, "arrive", token)
        for instance in range(len(self.world.service_ms)):
            self.probe.activate(instance)
            self.pull(instance)
        while self.events:
            self.now, _, what, whom = heapq.heappop(self.events)
            getattr(self, what)(whom)
            self.wake_those_to_wake()
            if not self.events or self.events[0][0] > self.now:  # all of this moment happened
                self.check_that_nobody_sleeps_beside_work()
        assert not self.waiting, f"left waiting: {self.waiting}"
        assert len(self.ended) == len(self.world.arrivals)
        assert self.queue.is_drained() or any(self.held.values())

    # --- clients ---------------------------------------------------------------------------------

    def arrive(self, token: int) -> None:
        arrival = self.world.arrivals[token]
        self.notice_who_is_late()
        one = self.placed(token, arrival)
        others = sum(other.level == one.level for other in self.waiting.values())
        has_room = not one.policy.max_queue_size or others < one.policy.max_queue_size
        pushed = self.probe.push(
            token,
            policies=self.world.policies,
            priority=arrival.priority,
            timeout_us=arrival.timeout_ms * 1000,
            rows=arrival.rows,
            shape=arrival.shape,
            now_ns=self.now,
        )
        assert pushed == has_room
        if not pushed:
            self.ended[token] = "refused"
            return
        self.waiting[token] = one
        if one.deadline_ns and not one.policy.delay_on_timeout:
            self.at(one.deadline_ns, "give_up", token)
        if arrival.patience_ms is not None:
            self.at(self.now + arrival.patience_ms * MS, "leave", token)

    def placed(self, token: int, arrival: Arrival) -> Waiting:
        levels = self.world.policies.priority_levels
        level = arrival.priority if 1 <= arrival.priority <= levels else 0
        if levels and not level:
            level = self.world.policies.default_level
        policy = self.world.policies.by_level.get(level, self.world.policies.general)
        allowed_us = policy.default_timeout_us
        if policy.allow_timeout_override and 0 < arrival.timeout_ms * 1000 < allowed_us:
            allowed_us = arrival.timeout_ms * 1000
        deadline_ns = self.now + allowed_us * 1000 if allowed_us else 0
        return Waiting(token, arrival, level, policy, self.now, deadline_ns, next(self.places))

    def notice_who_is_late(self) -> None:
        for one in self.in_order():
            if not one.deadline_ns or self.now < one.deadline_ns or one.is_delayed:
                continue
            if one.policy.delay_on_timeout:
                one.is_delayed, one.place = True, next(self.places)
            else:
                del self.waiting[one.token]
                self.ended[one.token] = "expired"

    def give_up(self, token: int) -> None:
        """The frontend's timer."""
        expired = self.ended.get(token) == "expired"
        if token not in self.waiting and not expired:
            return
        assert self.probe.cancel(token, now_ns=self.now), (
            "who waits past its time is its frontend's to answer"
        )
        self.waiting.pop(token, None)
        self.ended[token] = "answered late"

    def leave(self, token: int) -> None:
        if token in self.waiting:
            assert self.probe.cancel(token, now_ns=self.now)
            del self.waiting[token]
            self.ended[token] = "left"

    # --- instances -------------------------------------------------------------------------------

    def pull(self, instance: int) -> None:
        rule = self.world.rule
        self.notice_who_is_late()
        self.asleep.pop(instance, None)
        tokens, slots, look_again_ns = self.probe.pop(
            instance,
            max_rows=rule.max_rows,
            max_requests=rule.max_requests,
            max_delay_ns=rule.delay_ms * MS,
            preferred_rows=list(rule.preferred),
            done=self.held.pop(instance, []),
            now_ns=self.now,
        )
        if tokens:
            self.check_batch(tokens)
            self.held[instance] = slots
            self.at(self.now + self.world.service_ms[instance] * MS, "pull", instance)
            return
        self.asleep[instance] = self.probe.wake_word(instance), look_again_ns
        if look_again_ns:
            self.at(look_again_ns, "look", instance)

    def look(self, instance: int) -> None:
        if instance in self.asleep and self.asleep[instance][1] <= self.now:
            self.pull(instance)

    def wake_those_to_wake(self) -> None:
        while True:
            woken = [
                instance
                for instance, (word, _) in self.asleep.items()
                if self.probe.wake_word(instance) != word
            ]
            if not woken:
                return
            for instance in woken:
                self.pull(instance)

    def check_batch(self, tokens: list[int]) -> None:
        rule = self.world.rule
        batch = self.in_order()[: len(tokens)]
        assert [one.token for one in batch] == tokens, "the most urgent, in their order"
        assert len(tokens) <= rule.max_requests
        assert len(tokens) == 1 or sum(one.arrival.rows for one in batch) <= rule.max_rows
        assert len({one.arrival.shape for one in batch}) == 1
        for one in batch:
            late = bool(one.deadline_ns) and self.now >= one.deadline_ns
            assert not late or one.policy.delay_on_timeout
            del self.waiting[one.token]
            self.ended[one.token] = "executed"

    def check_that_nobody_sleeps_beside_work(self) -> None:
        """An instance may sleep only while what waits may still wait for company."""
        here = [one for one in self.in_order() if not self.is_expired(one)]
        if not here or not self.asleep:
            return
        assert self.world.rule.delay_ms, "without a delay nobody waits for company"
        due_ns = here[0].at_ns + self.world.rule.delay_ms * MS
        assert self.now < due_ns, "a batch that is due is taken by whoever sleeps"
        looks = [when for _, when in self.asleep.values() if when]
        assert looks
        assert min(looks) <= due_ns

    def is_expired(self, one: Waiting) -> bool:
        is_late = bool(one.deadline_ns) and self.now >= one.deadline_ns
        return is_late and not one.policy.delay_on_timeout

    def in_order(self) -> list[Waiting]:
        return sorted(self.waiting.values(), key=lambda one: one.order)


@pytest.fixture(scope="module")
def queues() -> Iterator[Iterator[ModelQueue]]:
    identity = claim_server_id()

    def made() -> Iterator[ModelQueue]:
        for generation in count(1):
            queue = ModelQueue.create(
                identity.server_id, generation, rings=[], wake_fds=[], slots=SLOTS
            )
            queue.unlink()
            yield queue

    yield made()
    release_server_id(identity)


@settings(max_examples=max(300, settings.default.max_examples))
@given(world=worlds())
def test_a_simulated_queue_keeps_its_promises(world, queues):
    queue = next(queues)
    Simulation(world, queue).run()
    assert queue.depth() == 0
