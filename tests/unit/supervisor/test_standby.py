"""The spawner's end of the worker that waits: when one is made, and who may be it."""

import os
import socket

import msgspec
import pytest

from mpserve.control.spawner_messages import ChildExited, ChildStopped, Spawn
from mpserve.supervisor.standby import (
    MAX_MESSAGE_BYTES,
    POLICY,
    QUIET_MS,
    Standby,
    World,
    await_birth,
    say_ready,
)

WORLD = World(threads=2)
MESSAGE = Spawn(spawn_id=7, role="worker", title="mps:m", start=b"start")
NOBODY = 1 << 30  # no pid is as high


class Forks:
    """Stands for forks: keeps the other end of each."""

    def __init__(self):
        self.ends = []
        self.are_ready = True

    def __call__(self, ends):
        self.ends.append(socket.socket(fileno=os.dup(ends.standbys.fileno())))
        if self.are_ready:
            say_ready(self.ends[-1])
        return NOBODY + len(self.ends)


@pytest.fixture
def forks():
    forks = Forks()
    yield forks
    for end in forks.ends:
        end.close()


@pytest.fixture
def standby(forks):
    standby = Standby(fork=forks)
    yield standby
    standby.leave()


def ended(number):
    return ChildExited(pid=NOBODY + number, exit_code=None, signal_number=9)


def test_a_birth_is_the_message_and_its_descriptors(standby, forks):
    standby.make(WORLD)
    assert standby.wait_ms() is None
    read, write = os.pipe()
    assert standby.bear(MESSAGE, [read, write], WORLD) == NOBODY + 1
    assert standby.wait_ms() == QUIET_MS
    assert not standby
    born = await_birth(forks.ends[0])
    assert born.message == MESSAGE
    os.write(born.stderr_fd, b"heard")
    assert os.read(born.control_fd, 9) == b"heard"
    for fd in (read, write, born.control_fd, born.stderr_fd):
        os.close(fd)


def test_it_is_not_needed_any_more_when_the_spawner_ends(standby, forks):
    standby.make(WORLD)
    standby.end()
    assert await_birth(forks.ends[0]) is None


@pytest.mark.parametrize("world", [World(threads=1), World(threads=2, modules=frozenset({"m"}))])
def test_one_of_another_world_ends_and_is_told_to_nobody(standby, world):
    standby.make(WORLD)
    assert standby.bear(MESSAGE, [0, 2], world) is None
    assert standby.wait_ms() == QUIET_MS
    assert standby.took(ended(1))
    assert standby.wait_ms() == QUIET_MS, "that it ended was no fault of it"


def test_what_is_too_long_leaves_it_where_it_is(standby):
    standby.make(WORLD)
    message = msgspec.structs.replace(MESSAGE, start=bytes(MAX_MESSAGE_BYTES))
    assert standby.bear(message, [0, 2], WORLD) is None
    assert standby.bear(MESSAGE, [0, 2], WORLD) == NOBODY + 1


def test_nobody_waits_for_one_that_is_not_ready(standby, forks):
    forks.are_ready = False
    standby.make(WORLD)
    assert standby.bear(MESSAGE, [0, 2], WORLD) is None
    assert standby.wait_ms() is None
    say_ready(forks.ends[0])
    assert standby.bear(MESSAGE, [0, 2], WORLD) == NOBODY + 1


def test_one_that_has_died_is_nobody_and_its_end_is_told_to_nobody(standby, forks):
    standby.make(WORLD)
    forks.ends[0].close()
    assert standby.bear(MESSAGE, [0, 2], WORLD) is None
    assert standby.took(ended(1))
    assert not standby.took(ended(1))


def test_the_end_of_one_that_was_born_is_not_kept_back(standby):
    standby.make(WORLD)
    assert standby.bear(MESSAGE, [0, 2], WORLD) == NOBODY + 1
    assert not standby.took(ended(1))


def test_one_that_is_stopped_is_replaced(standby):
    standby.make(WORLD)
    assert standby.took(ChildStopped(pid=NOBODY + 1, is_stopped=True))
    assert standby.bear(MESSAGE, [0, 2], WORLD) is None
    assert standby.wait_ms() == QUIET_MS


def test_those_that_die_are_made_ever_more_seldom(standby):
    waits = []
    for number in range(1, POLICY.max_deaths + 2):
        standby.make(WORLD)
        assert standby.took(ended(number))
        waits.append(standby.wait_ms())
    assert waits[0] == QUIET_MS, "the first one may be an accident"
    assert waits == sorted(waits)
    assert 900 <= waits[1] <= 1001
    assert waits[-1] > 59_000
