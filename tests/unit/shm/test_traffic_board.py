"""The board of what clients asked, written and read through Python."""

import pytest

from mpserve.dialect import DialectName
from mpserve.settings import Settings
from mpserve.shm import traffic_board
from mpserve.shm.server_id import claim_server_id, release_server_id
from mpserve.shm.traffic_board import TrafficBoard, counts_traffic
from mpserve.telemetry.traffic import BOUNDS, AnswerCounts, PlaceCounts, TrafficKind

PATH = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def board():
    identity = claim_server_id()
    board = TrafficBoard.create(identity.server_id, 2)
    yield board
    board.close()
    board.unlink()
    release_server_id(identity)


def test_the_bounds_are_those_of_the_core():
    assert tuple(bound / 1000 for bound in traffic_board.BOUNDS_MS) == BOUNDS


def test_what_a_frontend_counts_is_read_in_its_area(board):
    traffic = board.traffic(1)
    place = traffic.place(TrafficKind.UNARY, PATH)
    traffic.call_began(place)
    traffic.call_ended(place, TrafficKind.UNARY, 5, 6_000_000)
    traffic.message_received(place)
    traffic.message_sent(place)
    first, second = board.read()
    assert (first.places, first.answers) == ((), ())
    assert second.places == (
        PlaceCounts(kind=TrafficKind.UNARY, text=PATH, started=1, received=1, sent=1),
    )
    assert second.answers == (
        AnswerCounts(
            place=0, kind=TrafficKind.UNARY, status=5, sum_ns=6_000_000,
            buckets=(0, 1, *(0,) * 13),
        ),
    )  # fmt: skip
    del traffic


def test_a_place_that_is_none_counts_nothing(board):
    traffic = board.traffic(0)
    traffic.call_began(2**32 - 1)
    traffic.call_ended(2**32 - 1, TrafficKind.UNARY, 0, 1)
    assert board.read()[0].answers == ()
    with pytest.raises(ValueError, match="no such one"):
        traffic.place(len(TrafficKind), PATH)
    with pytest.raises(ValueError, match="no such one"):
        board.traffic(2)
    del traffic


@pytest.mark.parametrize(
    ("dialect", "allowed", "counts"),
    [
        (DialectName.MLSERVER, True, True),
        (DialectName.MLSERVER, False, False),
        (DialectName.TRITON, True, False),
    ],
)
def test_only_what_is_told_is_counted(dialect, allowed, counts):
    assert counts_traffic(Settings(dialect=dialect, allow_metrics=allowed)) is counts
