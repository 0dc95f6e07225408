"""Registrations of clients' memory: who is told, when a call is answered, when a link goes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpserve.control.region_messages import RegisterRegionCall, UnregisterRegionsCall
from mpserve.errors import ErrorCode
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.region_api import RegionApi

SHM = Path("/dev/shm")
SERVER = f"t{os.getpid()}"
MEMORY = f"wire_unit_{os.getpid()}"  # tests share processors, not names
NOTHING = frozenset()


class Desk:
    """A RegionApi, what it published, and what it answered."""

    def __init__(self, files) -> None:
        self.published = []
        self.answers = []
        self.api = RegionApi(
            server_id=SERVER, publish=self.published.append, checkpoint=Checkpoint(files)
        )

    def register(self, name="r", *, size=64, offset=0, call_id=1) -> None:
        call = RegisterRegionCall(
            call_id=call_id, name=name, key=f"/{MEMORY}", offset=offset, byte_size=size
        )
        self.api.call(call, self.answers.append)

    def unregister(self, name="") -> None:
        self.api.call(UnregisterRegionsCall(call_id=9, name=name), self.answers.append)

    @property
    def codes(self) -> list:
        return [one.failure and one.failure.code for one in self.answers]


def links() -> set[str]:
    return {path.name.partition("region.")[2] for path in SHM.glob(f"mps-{SERVER}-region.*")}


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    path = SHM / MEMORY
    path.write_bytes(bytes(4096))
    yield
    path.unlink()
    for link in SHM.glob(f"mps-{SERVER}-region.*"):
        link.unlink()


@pytest.fixture
def files():
    files = checkpoint_files()
    yield files
    for fd in files:
        os.close(fd)


@pytest.fixture
def desk(files) -> Desk:
    return Desk(files)


def test_a_registration_is_answered_when_everybody_knows(desk):
    desk.register()
    assert (desk.answers, links()) == ([], {"1"})
    desk.api.settled(0, NOTHING)
    assert desk.answers == []
    desk.api.settled(1, NOTHING)
    assert desk.codes == [None]
    assert [region.name for region in desk.published[-1].regions] == ["r"]


def test_a_withdrawn_region_keeps_its_link_while_it_is_used(desk):
    desk.register()
    desk.api.settled(1, NOTHING)
    desk.unregister("r")
    assert desk.published[-1].regions == ()
    desk.api.settled(1, NOTHING)  # of a frontend that does not know yet, and may begin to use it
    assert links() == {"1"}
    desk.api.settled(2, frozenset({1}))
    assert (desk.codes, links()) == ([None, None], {"1"})
    desk.api.settled(2, NOTHING)
    assert links() == set()


def test_a_refused_registration_leaves_no_link_and_tells_nobody(desk):
    desk.register(size=5000)
    desk.register(offset=4096)
    assert desk.codes == [ErrorCode.INVALID_ARGUMENT] * 2
    assert (desk.published, links()) == ([], set())


def test_a_name_is_taken_until_it_is_withdrawn(desk):
    desk.register()
    desk.register()
    assert desk.codes == [ErrorCode.ALREADY_EXISTS]
    desk.unregister()
    desk.register()
    desk.api.settled(3, NOTHING)
    assert desk.codes == [ErrorCode.ALREADY_EXISTS, None, None, None]
    assert links() == {"2"}


def test_the_next_supervisor_knows_what_is_registered(desk, files):
    desk.register("kept")
    desk.register("left")
    desk.api.settled(2, NOTHING)
    desk.unregister("left")
    after = Desk(files)
    assert after.api.published() == desk.published[-1]
    after.api.settled(3, frozenset({2}))
    assert links() == {"1", "2"}
    after.api.settled(3, NOTHING)
    assert links() == {"1"}
    after.register("new")
    assert links() == {"1", "3"}


def test_a_call_that_a_dead_supervisor_did_not_answer_may_be_repeated(desk, files):
    desk.register()
    after = Desk(files)
    after.register()
    after.api.settled(2, NOTHING)
    assert after.codes == [None]
    after.register()
    assert after.codes == [None, ErrorCode.ALREADY_EXISTS]


def test_a_link_that_a_dead_supervisor_had_just_made_is_removed(desk, files):
    desk.register()
    os.link(SHM / MEMORY, SHM / f"mps-{SERVER}-region.7")
    Desk(files)
    assert links() == {"1"}
