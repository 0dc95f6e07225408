"""Routes into real model queues: which are opened, kept, settled and closed."""

from collections.abc import Iterator

import msgspec
import pytest

from mpserve.dispatch.routes import Routes
from mpserve.dispatch.submission import submit
from mpserve.errors import ErrorCode, ModelNotReady, QueueFull
from mpserve.model.config import ModelConfig
from mpserve.model.identity import ModelName
from mpserve.model.request import InferRequest, InputTensor, SequenceMark
from mpserve.model.sequence import SequencePolicy
from mpserve.model.signature import Signature
from mpserve.model.state import ModelState
from mpserve.model.tensor import Datatype
from tests.fixtures.frontend_place import MAX_IN_FLIGHT, Place
from tests.unit.dispatch.tables import model, version

OPEN = ModelConfig(signature=Signature(open_inputs=True, open_outputs=True))
SEQUENCES = SequencePolicy(slots=4, idle_us=60_000_000)
SEQUENCED = msgspec.structs.replace(OPEN, sequences=SEQUENCES)


@pytest.fixture
def place() -> Iterator[Place]:
    one = Place()
    yield one
    one.close()


def request(sequence: SequenceMark | None = None) -> InferRequest:
    tensor = InputTensor(name="x", datatype=Datatype.UINT8, shape=(3,), data=b"abc")
    return InferRequest(inputs=(tensor,), id="7", sequence=sequence or SequenceMark())


def mapped(name: str) -> bool:
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        return name in maps.read()


def test_a_ready_version_gets_a_route_and_the_highest_is_the_default(place):
    one, two = place.queue(), place.queue()
    routes = Routes(place.dispatcher)
    entries = (
        version("1", generation=1, queue=one.name, config=OPEN),
        version("2", generation=2, queue=two.name, config=OPEN),
        version("3", ModelState.LOADING, generation=3),
    )
    routes.apply(removed=(), changed=(model("m", *entries),))
    assert routes.route("m", "2").generation == 2
    with pytest.raises(ModelNotReady):
        routes.route("m", "3")


def test_a_row_that_did_not_change_keeps_its_route(place):
    queue = place.queue()
    routes = Routes(place.dispatcher)
    entry = model("m", version("1", queue=queue.name, config=OPEN))
    routes.apply(removed=(), changed=(entry,))
    before = routes.route("m", "1")
    routes.apply(removed=(), changed=(entry,))
    assert routes.route("m", "1") is before


def test_a_queue_that_is_gone_already_makes_the_version_unready(place):
    routes = Routes(place.dispatcher)
    routes.apply(removed=(), changed=(model("m", version("1", queue="mps-00000000-queue1")),))
    with pytest.raises(ModelNotReady, match="try again"):
        routes.route("m", "1")


def test_a_model_without_a_limit_leaves_half_of_the_frontend_to_others(place):
    routes = Routes(place.dispatcher)
    names = ("a", "b")
    for generation, name in enumerate(names, 1):
        entry = version("1", generation=generation, queue=place.queue().name, config=OPEN)
        routes.apply(removed=(), changed=(model(name, entry),))

    def submit_to(name: str) -> None:
        route = routes.route(name, "1")
        submit(request(), dispatcher=place.dispatcher, route=route, on_answer=lambda _: None)

    for _ in range(MAX_IN_FLIGHT // 2):
        submit_to("a")
    with pytest.raises(QueueFull, match=r"^\[request id: 7\] Exceeds maximum queue size$"):
        submit_to("a")
    for _ in range(16):
        submit_to("b")


def test_a_table_is_settled_when_nothing_is_on_its_way_to_an_old_queue(place):
    queue = place.queue()
    routes = Routes(place.dispatcher)
    routes.apply(removed=(), changed=(model("m", version("1", queue=queue.name, config=OPEN)),))
    submit(
        request(),
        dispatcher=place.dispatcher,
        route=routes.route("m", "1"),
        on_answer=lambda _: None,
    )
    routes.apply(removed=(ModelName("m"),), changed=())
    assert not routes.is_settled()
    place.end_turn()
    assert routes.is_settled()
    assert queue.depth() == 1


def test_an_old_queue_is_unmapped_after_its_last_answer(place):
    queue = place.queue()
    routes = Routes(place.dispatcher)
    routes.apply(removed=(), changed=(model("m", version("1", queue=queue.name, config=OPEN)),))
    answers = []
    submit(
        request(),
        dispatcher=place.dispatcher,
        route=routes.route("m", "1"),
        on_answer=answers.append,
    )
    place.end_turn()
    routes.apply(removed=(ModelName("m"),), changed=())
    routes.close_retired()
    assert routes.retired_count() == 1
    queue.answer_waiting(ErrorCode.UNAVAILABLE)
    place.dispatcher.on_wake()
    assert [answer.code for answer in answers] == [ErrorCode.UNAVAILABLE]
    name = queue.name
    queue.close()
    assert mapped(name)
    routes.close_retired()
    assert routes.retired_count() == 0
    assert not mapped(name)


def test_a_queue_that_a_route_still_looks_into_is_unmapped_later(place):
    queue = place.queue()
    routes = Routes(place.dispatcher)
    routes.apply(removed=(), changed=(model("m", version("1", queue=queue.name, config=OPEN)),))
    kept = routes.route("m", "1")
    routes.apply(removed=(ModelName("m"),), changed=())
    queue.close()
    for _ in range(2):
        routes.close_retired()
        assert mapped(queue.name)
        assert routes.retired_count() == 1
    del kept
    routes.close_retired()
    assert routes.retired_count() == 0
    assert not mapped(queue.name)
