"""What a dispatcher keeps of a request until its end: its deadline, and the regions it names."""

import time
from collections.abc import Iterator

import msgspec
import pytest

from mpserve._native import QueueProbe
from mpserve.dispatch.routes import Routes
from mpserve.dispatch.submission import submit
from mpserve.errors import ErrorCode
from mpserve.model.config import ModelConfig, QueuePolicies, QueuePolicy
from mpserve.model.region import RegionId, RegionPiece, RegionUse
from mpserve.model.request import InferRequest, InputTensor
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype
from mpserve.shm.model_queue import ModelQueue
from mpserve.telemetry.counters import FailureReason
from tests.fixtures.frontend_place import Place
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

    def __init__(self, place: Place, config: ModelConfig = OPEN) -> None:
        self.place = place
        self.queue: ModelQueue = place.queue()
        routes = Routes(place.dispatcher)
        row = version("1", queue=self.queue.name, config=config)
        routes.apply(removed=(), changed=(model("m", row),))
        self.route = routes.route("m", "1")
        self.answers: list[int] = []
        self.probe = QueueProbe(self.queue.native)
        self.probe.activate(0)

    def submit(self, request: InferRequest) -> int:
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
