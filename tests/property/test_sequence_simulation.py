"""A discrete-event simulation of sequences in the native queue, with a clock of the test's.

Clients send the requests of their sequences, wait or do not, give up, and stop without an end;
instances take batches, are busy for a while, and sleep until they are woken or their time has come.
Beside the queue runs a plain model of which sequence has which slot; every request that is taken
is compared with it.
"""

import heapq
from collections.abc import Iterator
from itertools import count

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpserve._native import QueueProbe
from mpserve.model.sequence import SequencePolicy
from mpserve.shm.model_queue import ModelQueue
from mpserve.shm.server_id import claim_server_id, release_server_id

MS = 1_000_000
QUEUE_SLOTS = 128  # more than all requests, so that the backlog has no limit here


class Step(msgspec.Struct, frozen=True):
    """One request; `waits`: it is sent after the answer to the one before it, else beside it."""

    gap_ms: int
    waits: bool
    shape: int
    timeout_ms: int
    patience_ms: int | None


class Script(msgspec.Struct, frozen=True):
    """What one client does with one id."""

    at_ms: int
    key: int
    starts: bool
    ends: bool
    steps: list[Step]


class World(msgspec.Struct, frozen=True):
    """What a simulation is made of."""

    is_direct: bool
    slots: int
    max_rows: int
    delay_ms: int
    ready_slots: int
    idle_ms: int
    service_ms: list[int]  # one instance each
    scripts: list[Script]


class Request(msgspec.Struct, eq=False):
    """A request as the model has it."""

    token: int
    number: int  # in order of arrival
    step: Step
    at_ns: int
    due_ns: int  # it waits for a slot no longer; 0: for ever


class Live(msgspec.Struct, eq=False):
    """A sequence as the model has it."""

    key: int
    heard_ns: int
    waiting: list[Request] = []
    running: int = 0
    place: tuple[int, int] | None = None  # instance and slot; `None`: in the backlog
    is_open: bool = True  # its id means it
    serial: int | None = None  # as the queue says

    @property
    def is_over(self) -> bool:
        return not (self.is_open or self.waiting or self.running)


class Model:
    """Which sequence has which slot."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sequences: list[Live] = []  # in the order of their starts
        self.doomed: dict[int, str] = {}  # token -> why
        self.held_by: dict[int, Live] = {}  # token -> its sequence

    def find(self, key: int) -> Live | None:
        return next((one for one in self.sequences if one.is_open and one.key == key), None)

    def backlog(self) -> list[Live]:
        return [one for one in self.sequences if one.place is None]

    def settle(self, now: int) -> None:
        for one in self.sequences:
            is_quiet = not (one.waiting or one.running)
            if one.place and is_quiet and now >= one.heard_ns + self.world.idle_ms * MS:
                one.is_open = False
        for one in self.backlog():
            if any(request.due_ns and now >= request.due_ns for request in one.waiting):
                self.end(one, "timed out")
        self.forget()
        self.place_backlog()

    def place_backlog(self) -> None:
        for one in self.backlog():
            taken = {other.place for other in self.sequences}
            places = (
                (instance, slot)
                for slot in range(self.world.slots)
                for instance in range(len(self.world.service_ms))
            )
            one.place = next((place for place in places if place not in taken), None)
            if one.place is None:
                return

    def end(self, one: Live, why: str) -> None:
        one.is_open = False
        for request in one.waiting:
            self.doomed[request.token] = why
        one.waiting = []
        self.forget()

    def forget(self) -> None:
        self.sequences = [one for one in self.sequences if not one.is_over]

    def ready(self, instance: int) -> list[Request]:
        """Return the requests that the instance may take, by slot."""
        held = [one for one in self.sequences if one.place and one.place[0] == instance]
        held.sort(key=lambda one: one.place or (0, 0))
        return [one.waiting[0] for one in held if one.waiting and not one.running]


class Simulation:
    """The queue, the model beside it, and what is still to happen."""

    def __init__(self, world: World, queue: ModelQueue) -> None:
        self.world = world
        self.queue = queue
        self.probe = QueueProbe(queue.native)
        self.model = Model(world)
        self.now = 1  # the monotonic clock is never 0
        self.events: list[tuple[int, int, str, tuple[int, ...]]] = []
        self.numbers, self.tokens, self.arrivals = count(), count(1), count()
        self.asleep: dict[int, tuple[int, int]] = {}  # instance -> its word, when it looks again
        self.held: dict[int, list[tuple[int, int]]] = {}  # instance -> tokens and slots it executes
        self.after: dict[int, tuple[int, int]] = {}  # token -> what its client sends then
        self.outcomes: dict[int, str] = {}

    def at(self, when_ns: int, what: str, *whom: int) -> None:
        heapq.heappush(self.events, (when_ns, next(self.numbers), what, whom))

    def run(self) -> None:
        for index, script in enumerate(self.world.scripts):
            self.at(1 + script.at_ms * MS, "send", index, 0)
        for instance in range(len(self.world.service_ms)):
            self.probe.activate(instance)
            self.pull(instance)
        while self.events:
            self.now, _, what, whom = heapq.heappop(self.events)
            getattr(self, what)(*whom)
            self.wake_those_to_wake()
            if not self.events or self.events[0][0] > self.now:  # all of this moment happened
                self.check_that_nobody_sleeps_beside_work()
        assert not self.model.doomed
        assert not any(one.waiting or one.running for one in self.model.sequences)
        assert self.queue.depth() == 0

    # --- clients ---------------------------------------------------------------------------------

    def send(self, index: int, position: int) -> None:
        script = self.world.scripts[index]
        step, token = script.steps[position], next(self.tokens)
        starts = script.starts and position == 0
        ends = script.ends and position == len(script.steps) - 1
        self.model.settle(self.now)
        one = self.model.find(script.key)
        if one is None and starts:
            one = Live(script.key, self.now)
            self.model.sequences.append(one)
        pushed = self.probe.push_sequenced(
            token,
            number=script.key,
            starts=starts,
            ends=ends,
            timeout_us=step.timeout_ms * 1000,
            shape=step.shape,
            now_ns=self.now,
        )
        assert pushed == (one is not None), "refused if and only if there is no such sequence"
        if one is None:
            return
        due_ns = self.now + step.timeout_ms * MS if step.timeout_ms else 0
        one.waiting.append(Request(token, next(self.arrivals), step, self.now, due_ns))
        one.heard_ns = self.now
        one.is_open = one.is_open and not ends
        self.model.held_by[token] = one
        self.model.settle(self.now)
        if position + 1 < len(script.steps):
            following = script.steps[position + 1]
            if following.waits:
                self.after[token] = index, position + 1
            else:
                self.at(self.now + following.gap_ms * MS, "send", index, position + 1)
        if step.patience_ms is not None:
            self.at(self.now + step.patience_ms * MS, "leave", token)

    def leave(self, token: int) -> None:
        """A client takes back a request that waits, or was doomed: its sequence ends with it."""
        if token in self.outcomes:
            return
        one = self.model.held_by[token]
        is_running = any(token == other for held in self.held.values() for other, _ in held)
        if is_running:
            return
        assert self.probe.cancel(token, now_ns=self.now)
        self.outcomes[token] = "left"
        self.after.pop(token, None)
        if self.model.doomed.pop(token, None) is None:
            one.waiting = [request for request in one.waiting if request.token != token]
            self.model.end(one, "cancelled")
            self.model.settle(self.now)

    # --- instances -------------------------------------------------------------------------------

    def pull(self, instance: int) -> None:
        self.asleep.pop(instance, None)
        done = self.held.pop(instance, [])
        for token, _ in done:
            self.finish(token)
        self.model.settle(self.now)
        world = self.world
        taken, look_again_ns = self.probe.pop_sequenced(
            instance,
            max_rows=world.max_rows,
            max_requests=world.slots if world.is_direct else world.max_rows,
            max_delay_ns=world.delay_ms * MS,
            ready_slots=world.ready_slots if world.is_direct else 0,
            done=[slot for _, slot in done],
            now_ns=self.now,
        )
        doomed = [one for one in taken if one[2]]
        self.held[instance] = [(token, slot) for token, slot, *_ in taken]
        if doomed:
            assert len(doomed) == len(taken), "who is doomed is answered by itself"
            for token, _, verdict, *_ in doomed:
                assert self.model.doomed.pop(token) == verdict
                self.outcomes[token] = verdict
            self.at(self.now, "pull", instance)
        elif taken:
            assert not self.model.doomed, "who is doomed is answered first"
            self.check_batch(instance, taken)
            self.at(self.now + world.service_ms[instance] * MS, "pull", instance)
        else:
            del self.held[instance]
            self.asleep[instance] = self.probe.wake_word(instance), look_again_ns
            if look_again_ns:
                self.at(look_again_ns, "look", instance)

    def finish(self, token: int) -> None:
        one = self.model.held_by[token]
        if token in self.outcomes:  # it was doomed
            return
        self.outcomes[token] = "executed"
        one.running -= 1
        one.heard_ns = self.now
        self.model.forget()
        if token in self.after:
            index, position = self.after.pop(token)
            gap_ms = self.world.scripts[index].steps[position].gap_ms
            self.at(self.now + gap_ms * MS, "send", index, position)

    def look(self, instance: int) -> None:
        if instance in self.asleep and self.asleep[instance][1] <= self.now:
            self.pull(instance)

    def wake_those_to_wake(self) -> None:
        while woken := [
            instance
            for instance, (word, _) in self.asleep.items()
            if self.probe.wake_word(instance) != word
        ]:
            for instance in woken:
                self.pull(instance)

    def check_batch(self, instance: int, taken: list[tuple[int, int, str, int, int]]) -> None:
        ready = self.model.ready(instance)
        expected = self.rows_of(ready) if self.world.is_direct else self.oldest_of(ready)
        assert [token for token, *_ in taken] == [one.token for one in expected]
        for token, _, _, serial, slot in taken:
            one = self.model.held_by[token]
            assert one.place == (instance, slot), "a sequence keeps its slot"
            assert one.serial in {None, serial}
            assert all(other.serial != serial for other in self.model.sequences if other is not one)
            one.serial = serial
            assert not one.running, "one request of a sequence at a time"
            one.waiting.pop(0)
            one.running = 1

    @staticmethod
    def rows_of(ready: list[Request]) -> list[Request]:
        return [one for one in ready if one.step.shape == ready[0].step.shape]

    def oldest_of(self, ready: list[Request]) -> list[Request]:
        oldest = sorted(ready, key=lambda one: one.number)
        batch = oldest[:1]
        for one in oldest[1 : self.world.max_rows]:
            if one.step.shape != batch[0].step.shape:
                break
            batch.append(one)
        return batch

    def check_that_nobody_sleeps_beside_work(self) -> None:
        if not self.asleep:
            return
        assert not self.model.doomed, "somebody sleeps while requests wait to be refused"
        for instance in self.asleep:
            ready = self.model.ready(instance)
            if not ready:
                continue
            oldest_ns = min(one.at_ns for one in ready)
            assert self.now < oldest_ns + self.world.delay_ms * MS, "it waits for company too long"
            if self.world.is_direct:
                assert len(ready) < self.world.ready_slots, "it has all the company it waits for"
        if waits := [one.key for one in self.model.backlog()]:
            self.model.settle(self.now)
            still = [one.key for one in self.model.backlog()]
            assert still == waits, "a sequence waits although a slot is free, or it waited enough"


steps = st.builds(
    Step,
    gap_ms=st.integers(0, 12),
    waits=st.sampled_from([True, True, False]),
    shape=st.sampled_from([0, 0, 0, 1]),
    timeout_ms=st.sampled_from([0, 0, 0, 3, 9]),
    patience_ms=st.sampled_from([None, None, None, None, 0, 5]),
)
scripts = st.builds(
    Script,
    at_ms=st.integers(0, 25),
    key=st.integers(1, 6),
    starts=st.sampled_from([True] * 7 + [False]),
    ends=st.sampled_from([True, True, True, False]),
    steps=st.lists(steps, min_size=1, max_size=5),
)


@st.composite
def worlds(draw) -> World:
    slots = draw(st.integers(1, 4))
    delay_ms = draw(st.sampled_from([0, 0, 4]))
    return World(
        is_direct=draw(st.booleans()),
        slots=slots,
        max_rows=draw(st.integers(1, 4)),
        delay_ms=delay_ms,
        ready_slots=draw(st.integers(1, slots)) if delay_ms else 1,
        idle_ms=draw(st.sampled_from([2, 8, 1000])),
        service_ms=draw(st.lists(st.integers(1, 8), min_size=1, max_size=3)),
        scripts=draw(st.lists(scripts, min_size=1, max_size=16)),
    )


@pytest.fixture(scope="module")
def queues() -> Iterator[int]:
    identity = claim_server_id()
    numbers = count(1)

    def made(world: World) -> ModelQueue:
        queue = ModelQueue.create(
            identity.server_id,
            next(numbers),
            rings=[],
            wake_fds=[],
            slots=QUEUE_SLOTS,
            sequences=SequencePolicy(slots=world.slots, idle_us=world.idle_ms * 1000),
        )
        queue.unlink()
        return queue

    yield made
    release_server_id(identity)


# The instance sleeps already when the second sequence begins to wait for the idle one's slot.
ASLEEP_BEFORE = World(
    is_direct=False,
    slots=1,
    max_rows=1,
    delay_ms=0,
    ready_slots=1,
    idle_ms=2,
    service_ms=[1],
    scripts=[
        Script(at_ms=at_ms, key=key, starts=True, ends=key == 2, steps=[Step(0, True, 0, 0, None)])
        for at_ms, key in ((11, 1), (13, 2))
    ],
)


@example(world=ASLEEP_BEFORE)
@settings(max_examples=max(300, settings.default.max_examples))
@given(world=worlds())
def test_simulated_sequences_are_never_mixed_and_never_left_behind(world, queues):
    Simulation(world, queues(world)).run()
