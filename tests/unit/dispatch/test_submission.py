"""What a dispatcher keeps of a request until its end: its place, its deadline, its regions."""

import select
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from mpserve._native import QueueProbe
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.submission import submit
from mpserve.errors import ErrorCode, QueueFull
from mpserve.model.config import ModelConfig, QueuePolicies, QueuePolicy
from mpserve.model.region import RegionId, RegionPiece, RegionUse
from mpserve.model.request import InferRequest, InputTensor
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype
from mpserve.shm.completion_ring import CompletionRing
from mpserve.shm.model_queue import ModelQueue
from mpserve.telemetry.counters import FailureReason
from tests.fixtures.frontend_place import RING_CAPACITY, Place
from tests.fixtures.pace import within
from tests.unit.dispatch.tables import model, version

OPEN = ModelConfig(signature=Signature(open_inputs=True, open_outputs=True))
SECOND_NS = 10**9
TENSOR = InputTensor(name="x", datatype=Datatype.UINT8, shape=(3,), data=b"abc")
PLAIN = InferRequest(inputs=(TENSOR,))
USE = RegionUse(name="r", offset=1, byte_size=3)
IN_REGION = InferRequest(inputs=(msgspec.structs.replace(TENSOR, data=b"", region=USE),))


@pytest.fixture
def place() -> Iterator[Place]:
    one = Place()
    yield one
    one.close()


class Model:
    """A model without instances; the test takes what waits."""

    def __init__(
        self, place: Place, config: ModelConfig = OPEN, *, name: str = "m", slots: int = 16
    ) -> None:
        self.place = place
        self.queue: ModelQueue = place.queue(slots=slots)
        routes = Routes(place.dispatcher)
        row = version("1", queue=self.queue.name, config=config)
        routes.apply(removed=(), changed=(model(name, row),))
        self.route = routes.route(name, "1")
        self.answers: list[int] = []
        self.probe = QueueProbe(self.queue.native)
        self.probe.activate(0)

    @property
    def waiting(self) -> int:
        """Return how many lie in the queue."""
        return self.queue.native.depth()

    def submit(self, request: InferRequest = PLAIN) -> int:
        """Submit a request and push it; return its token."""
        token = submit(
            request,
            dispatcher=self.place.dispatcher,
            route=self.route,
            on_answer=lambda answer: self.answers.append(answer.code),
            place=lambda use: RegionPiece(
                id=RegionId(5), offset=use.offset, byte_size=use.byte_size
            ),
        )
        self.place.end_turn()
        return token

    def taken(self, *, now_ns: int) -> list[int]:
        """Return the tokens that an instance gets at a moment."""
        tokens, _, _ = self.probe.pop(
            0, max_rows=8, max_requests=8, max_delay_ns=0, preferred_rows=[], done=[],
            now_ns=now_ns,
        )  # fmt: skip
        return list(tokens)


PLACES = RING_CAPACITY // 2  # each answer, and one of the reaper, has room in the ring


def test_a_model_has_half_of_the_places_and_the_next_one_half_of_what_is_left(place):
    first, second, third = (Model(place, name=name, slots=PLACES) for name in "abc")
    for _ in range(PLACES):
        for one in (first, second, third):
            one.submit()
    assert place.dispatcher.in_flight == 3 * PLACES  # the others wait here
    pushed = [one.waiting for one in (first, second, third)]
    assert max(pushed) <= PLACES // 2
    assert min(pushed) >= PLACES // 8
    assert sum(pushed) <= PLACES


def test_what_waits_for_a_place_is_pushed_in_order_when_answers_come(place):
    one = Model(place, slots=PLACES)
    tokens = [one.submit() for _ in range(PLACES)]
    assert one.waiting == PLACES // 2
    one.queue.answer_waiting(ErrorCode.UNAVAILABLE)
    place.dispatcher.on_wake()
    assert len(one.answers) == PLACES // 2
    assert one.taken(now_ns=time.monotonic_ns()) == tokens[PLACES // 2 :][:8]


def test_what_waits_for_a_place_can_be_taken_back(place):
    one = Model(place, slots=PLACES)
    tokens = [one.submit() for _ in range(PLACES)]
    for token in tokens[PLACES // 2 : -1]:
        place.dispatcher.cancel(token)
    assert one.waiting == PLACES // 2
    assert place.dispatcher.in_flight == PLACES // 2 + 1
    one.queue.answer_waiting(ErrorCode.UNAVAILABLE)
    place.dispatcher.on_wake()
    assert one.taken(now_ns=time.monotonic_ns()) == tokens[-1:]


def test_the_queue_of_a_model_with_a_limit_knows_all_that_waits(place):
    policies = QueuePolicies(general=QueuePolicy(max_queue_size=2 * PLACES))
    config = msgspec.structs.replace(OPEN, queue_policies=policies)
    one, other = Model(place, config, slots=2 * PLACES), Model(place, name="n")
    for _ in range(PLACES):
        one.submit()
    assert one.waiting == PLACES
    for stuck in (one, other):  # there is no place, so nothing to wait for
        with pytest.raises(QueueFull, match="Exceeds maximum queue size"):
            stuck.submit()
        assert stuck.queue.counts().failures[FailureReason.REJECTED] == 1
    assert place.dispatcher.in_flight == PLACES


def test_what_waits_for_a_place_is_refused_with_its_queue(place):
    one = Model(place, slots=PLACES)
    for _ in range(PLACES):
        one.submit()
    one.queue.native.retire()
    one.queue.answer_waiting(ErrorCode.UNAVAILABLE)
    place.dispatcher.on_wake()
    half = PLACES // 2
    assert one.answers == [ErrorCode.UNAVAILABLE] * half + [ErrorCode.NOT_READY] * half
    assert place.dispatcher.in_flight == 0


@pytest.fixture
def small_ring(place: Place) -> CompletionRing:
    place.answering_ring = CompletionRing.create(place.identity.server_id, 1, 4)
    return place.answering_ring


def test_what_is_answered_without_an_instance_waits_for_room_in_the_ring(place, small_ring):
    one = Model(place)
    for _ in range(16):
        one.submit()
    ended = threading.Event()

    def take() -> None:
        taker = place.open_dispatcher(2, small_ring)
        while not ended.is_set():
            select.select([place.wake_fd], [], [], 0.1)
            taker.on_wake()

    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(take)
        try:
            assert one.queue.answer_waiting(ErrorCode.UNAVAILABLE) == 16
        finally:
            ended.set()
        taking.result()


def test_who_answers_does_not_wait_for_ever_for_a_frontend_that_takes_nothing(place, small_ring):
    one = Model(place)
    for _ in range(16):
        one.submit()
    begun = time.monotonic()
    assert one.queue.answer_waiting(ErrorCode.UNAVAILABLE) == 4  # what the ring holds
    assert time.monotonic() - begun < within(3)


def test_the_queue_itself_drops_what_its_client_waits_for_no_more(place):
    one = Model(place)
    now = time.monotonic_ns()
    late = one.submit(msgspec.structs.replace(PLAIN, deadline_ns=now + SECOND_NS))
    patient = one.submit(msgspec.structs.replace(PLAIN, deadline_ns=now + 60 * SECOND_NS))
    assert one.taken(now_ns=now + 2 * SECOND_NS) == [patient]
    place.dispatcher.cancel(late)  # as its connection does
    assert one.queue.counts().failures[FailureReason.CANCELED] == 1
    assert place.dispatcher.in_flight == 1
    assert one.answers == []


def test_what_is_not_late_is_taken(place):
    one = Model(place)
    now = time.monotonic_ns()
    token = one.submit(msgspec.structs.replace(PLAIN, deadline_ns=now + 60 * SECOND_NS))
    assert one.taken(now_ns=now + 59 * SECOND_NS) == [token]


@pytest.mark.parametrize("delays", [False, True], ids=["refused", "put behind"])
def test_of_a_deadline_and_the_models_limit_the_earlier_counts(place, delays):
    limit = QueuePolicy(default_timeout_us=10_000_000, delay_on_timeout=delays)
    policies = QueuePolicies(general=limit)
    config = msgspec.structs.replace(OPEN, queue_policies=policies)
    one = Model(place, config)
    now = time.monotonic_ns()
    one.submit(msgspec.structs.replace(PLAIN, deadline_ns=now + SECOND_NS))
    after = one.submit(msgspec.structs.replace(PLAIN, deadline_ns=now + 60 * SECOND_NS))
    assert one.taken(now_ns=now + 20 * SECOND_NS) == ([after] if delays else [])


def test_a_region_is_held_until_its_request_is_answered(place):
    one = Model(place)
    place.regions.publish([("r", 5, 0, 10)])
    one.submit(IN_REGION)
    place.regions.publish([])
    assert place.regions.in_use() == [5]
    one.queue.answer_waiting(ErrorCode.UNAVAILABLE)
    place.dispatcher.on_wake()
    assert one.answers == [ErrorCode.UNAVAILABLE]
    assert place.regions.in_use() == []
    assert place.freed == 1


def test_a_region_of_a_cancelled_request_is_held_while_the_request_runs(place):
    one = Model(place)
    place.regions.publish([("r", 5, 0, 10)])
    waits, runs = one.submit(IN_REGION), one.submit(IN_REGION)
    place.dispatcher.cancel(waits)
    assert one.taken(now_ns=time.monotonic_ns()) == [runs]
    place.dispatcher.cancel(runs)
    place.regions.publish([])
    assert place.regions.in_use() == [5]  # its worker may still write there
    assert place.freed == 0


def test_a_hold_of_pythons_counts_like_a_requests(place):
    place.regions.publish([("r", 5, 0, 10), ("s", 6, 0, 10)])
    hold, other = place.regions.hold([5, 6]), place.regions.hold([5])
    place.regions.publish([("s", 6, 0, 10)])
    del hold
    assert (place.regions.in_use(), place.freed) == ([5], 0)
    del other
    assert (place.regions.in_use(), place.freed) == ([], 1)
