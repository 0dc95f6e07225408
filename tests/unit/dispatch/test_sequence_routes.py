"""Requests that go on with a sequence: sent to whoever holds it."""

import pytest

from mpserve.dispatch.routes import Routes
from mpserve.dispatch.submission import submit
from mpserve.model.request import SequenceMark
from mpserve.model.state import ModelState
from tests.unit.dispatch.tables import model, version
from tests.unit.dispatch.test_routes import OPEN, SEQUENCED, SEQUENCES, Place, place, request

__all__ = ["place"]  # a fixture


class World:
    """One model whose generations follow each other, each with a queue."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.released = 0
        self.routes = Routes(place.dispatcher, on_released=self.on_released)
        self.rows = {}

    def on_released(self) -> None:
        self.released += 1

    def add(self, generation: int, *, number: str = "1", config=SEQUENCED) -> None:
        """Make a generation of a version."""
        sequences = SEQUENCES if config.sequences is not None else None
        queue = self.place.queue(sequences=sequences)
        self.rows[generation] = version(
            number, generation=generation, queue=queue.name, config=config
        )

    def publish(self, *serving: int, earlier: tuple[int, ...] = ()) -> None:
        """Let these serve; sequences go on in the earlier ones."""
        row = model(
            "m",
            *(self.rows[one] for one in serving),
            earlier=tuple(
                version(
                    self.rows[one].version,
                    ModelState.UNLOADING,
                    generation=one,
                    queue=self.rows[one].queue_segment,
                    config=self.rows[one].config,
                )
                for one in earlier
            ),
        )
        self.routes.apply(removed=(), changed=(row,))

    def begin(self, number: int, *, in_version: str = "1") -> None:
        """Begin a sequence where the table sends it."""
        self.submit(SequenceMark(number=number, starts=True), in_version)
        self.place.end_turn()

    def submit(self, mark: SequenceMark, in_version: str) -> None:
        submit(
            request(mark),
            dispatcher=self.place.dispatcher,
            route=self.routes.route("m", in_version),
            on_answer=lambda _: None,
        )

    def followed(self, mark: SequenceMark, *, asked: str = "", default: str = "1") -> int:
        """Return the generation that a request goes to."""
        own = self.routes.route("m", asked or default)
        other = self.routes.follow(own, mark, any_version=not asked)
        return own.generation if other is None else other.entry.generation


@pytest.fixture
def world(place):
    return World(place)


def test_it_goes_to_the_newest_generation_that_has_the_sequence(world):
    for generation in (1, 2, 3):
        world.add(generation)
    world.publish(1)
    world.begin(7)
    world.begin(8)
    world.publish(2, earlier=(1,))
    world.begin(8)
    world.publish(3, earlier=(2, 1))
    world.begin(9)
    wanted = {7: 1, 8: 2, 9: 3, 10: 3}
    assert {one: world.followed(SequenceMark(number=one)) for one in wanted} == wanted
    assert {world.followed(SequenceMark(number=one, starts=True)) for one in wanted} == {3}
    assert world.followed(SequenceMark()) == 3


def test_only_who_asks_for_no_version_is_sent_to_another(world):
    world.add(1, number="1")
    world.add(2, number="2")
    world.publish(1)
    world.begin(7)
    for earlier in ((), (1,)):
        world.publish(*([1, 2] if not earlier else [2]), earlier=earlier)
        assert world.followed(SequenceMark(number=7), default="2") == 1
        assert world.followed(SequenceMark(number=7), asked="2") == 2


def test_a_row_leads_to_its_generation(world):
    for generation in (1, 2):
        world.add(generation)
    world.publish(2, earlier=(1,))
    assert [world.routes.route_to("m", world.rows[one]).generation for one in (1, 2)] == [1, 2]


def test_a_start_on_its_way_to_a_replaced_generation_is_waited_for(world):
    world.add(1)
    world.add(2)
    world.publish(1)
    world.submit(SequenceMark(number=7, starts=True), "1")
    world.publish(2, earlier=(1,))
    assert not world.routes.is_settled()
    world.place.end_turn()
    assert world.routes.is_settled()


def test_an_ensembles_hold_on_a_replaced_generation_is_told(world):
    world.add(1)
    world.add(2)
    world.publish(1)
    world.routes.hold([1])
    assert world.routes.held() == ()
    world.publish(2, earlier=(1,))
    assert world.routes.held() == (1,)
    world.routes.release([1])
    assert (world.routes.held(), world.released) == ((), 1)


def test_a_generation_that_is_named_no_more_is_let_go(world):
    world.add(1)
    world.add(2)
    world.publish(1)
    world.begin(7)
    world.publish(2, earlier=(1,))
    world.publish(2)
    assert world.followed(SequenceMark(number=7)) == 2
    assert world.routes.retired_count() == 1


def test_a_route_is_made_anew_when_others_may_hold_its_sequences(world):
    world.add(1)
    world.add(2, config=OPEN)
    world.publish(1)
    world.publish(2, earlier=(1,))
    before = world.routes.route("m", "1")
    world.publish(2)
    after = world.routes.route("m", "1")
    assert after is not before
    world.publish(2)
    assert world.routes.route("m", "1") is after
