"""What is counted over generations: queues are stood in for by what they have counted."""

from collections.abc import Callable

import pytest

from mpserve.model.identity import Generation, InstanceKey, ModelName, Version, VersionKey
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.ledger import LINGER_SECONDS, Ledger
from mpserve.telemetry.counters import InstanceCounts, ModelCounts
from mpserve.telemetry.snapshot import LoadCounts

M1 = VersionKey(name=ModelName("m"), version=Version("1"))
M2 = VersionKey(name=ModelName("m"), version=Version("2"))
SECOND = 1_000_000_000


class CountedQueue:
    """A queue of which only the counts matter."""

    def __init__(self) -> None:
        self.successes = 0
        self.is_open = True

    def counts(self) -> ModelCounts:
        assert self.is_open
        return ModelCounts(successes=self.successes)

    def waiting(self) -> int:
        return 2

    def instance_counts(self, slot: int) -> InstanceCounts:
        return InstanceCounts(
            requests_ok=slot, requests_failed=0, arena_used_bytes=0, arena_total_bytes=0
        )

    def close(self) -> None:
        self.is_open = False


class Books:
    """A ledger with a clock and timers that the test moves."""

    def __init__(self, files: tuple[int, int] | None = None) -> None:
        self.now_ns = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.files = files or checkpoint_files()
        self.checkpoint = Checkpoint(self.files)
        self.ledger = Ledger(
            now_ns=lambda: self.now_ns,
            call_later=lambda *timer: self.timers.append(timer),
            checkpoint=self.checkpoint,
        )

    def next(self) -> "Books":
        """Return the books of the supervisor that follows when this one is killed now."""
        return Books(self.files)

    def open(self, generation: int, version: VersionKey = M1) -> CountedQueue:
        queue = CountedQueue()
        self.ledger.opened(Generation(generation), version, queue)
        return queue

    def let_linger(self) -> None:
        for _, fold in self.timers:
            fold()
        self.timers.clear()

    @property
    def successes(self) -> int:
        return self.ledger.counts(M1).successes


@pytest.fixture
def books() -> Books:
    return Books()


def key(index: int, generation: int = 1) -> InstanceKey:
    return InstanceKey(
        name=M1.name, version=M1.version, generation=Generation(generation), index=index
    )


def test_generations_of_one_version_are_added_up(books):
    books.open(1).successes = 3
    books.open(2).successes = 4
    books.open(3, M2).successes = 50
    assert books.successes == 7
    assert books.ledger.waiting(M1) == 4


def test_a_reload_takes_nothing_back(books):
    old = books.open(1)
    old.successes = 3
    books.open(2).successes = 1
    books.ledger.removed(Generation(1))
    assert books.successes == 4
    books.let_linger()
    assert (books.successes, old.is_open) == (4, False)


def test_an_answer_that_is_counted_after_the_last_worker_went_is_not_missed(books):
    old, _ = books.open(1), books.open(2)
    books.ledger.removed(Generation(1))
    old.successes += 1
    assert books.timers[0][0] == LINGER_SECONDS
    books.let_linger()
    assert books.successes == 1


def test_an_unload_ends_the_series_and_a_later_load_begins_at_zero(books):
    books.open(1).successes = 3
    books.ledger.removed(Generation(1))
    books.let_linger()
    assert books.successes == 0
    books.open(2).successes = 1
    assert books.successes == 1


def test_a_load_soon_after_an_unload_goes_on_counting(books):
    books.open(1).successes = 3
    books.ledger.removed(Generation(1))
    books.open(2).successes = 1
    books.let_linger()
    assert books.successes == 4


def test_the_next_supervisor_goes_on_with_what_every_generation_has_counted(books):
    for number in (1, 2, 3):
        books.open(number).successes = 10**number
        books.ledger.started(key(0, generation=number))
        books.ledger.started(key(0, generation=number))
    books.ledger.removed(Generation(1))
    books.let_linger()
    books.ledger.removed(Generation(2))
    later = books.next()
    later.open(3).successes = 1000
    assert later.successes == 1110
    assert later.ledger.restarts(M1) == 3
    assert later.next().successes == 110


def test_what_was_added_up_is_not_added_again_when_the_note_of_it_was_left(books, monkeypatch):
    books.open(1).successes = 3
    books.open(2)
    books.ledger.removed(Generation(1))
    drop = books.checkpoint.drop

    def killed(name: str) -> None:
        if name.startswith("left/"):
            books.checkpoint.flush()
        else:
            drop(name)

    monkeypatch.setattr(books.checkpoint, "drop", killed)
    books.let_linger()
    assert books.successes == 3
    assert books.next().successes == 3


def test_workers_that_start_again_are_counted_also_over_a_reload(books):
    books.open(1)
    for index in (0, 1, 0, 0):
        books.ledger.started(key(index))
    assert books.ledger.restarts(M1) == 2
    books.open(2)
    books.ledger.removed(Generation(1))
    books.let_linger()
    assert books.ledger.restarts(M1) == 2


def test_the_time_of_a_load_goes_from_its_admission_to_the_first_table_that_names_it(books):
    books.open(1)
    books.now_ns = 3 * SECOND
    books.ledger.serves(Generation(1))
    books.now_ns = 9 * SECOND
    books.ledger.serves(Generation(1))
    assert books.ledger.load_seconds(Generation(1)) == 3
    assert books.ledger.load_seconds(Generation(7)) == 0


def test_changes_are_counted_by_outcome_with_their_time(books):
    books.ledger.begun(M1.name)
    books.now_ns = 2 * SECOND
    books.ledger.settled(M1.name, succeeded=True)
    books.ledger.begun(M1.name)
    books.now_ns = 3 * SECOND
    books.ledger.settled(M1.name, succeeded=False)
    assert books.ledger.loads() == (LoadCounts(model="m", succeeded=1, failed=1, seconds=3.0),)


def test_a_wish_that_needed_no_change_is_not_counted(books):
    books.ledger.settled(M1.name, succeeded=True)
    assert books.ledger.loads() == ()


def test_the_end_unmaps_everything(books):
    queue = books.open(1)
    books.ledger.removed(Generation(1))
    books.ledger.close()
    books.let_linger()
    assert not queue.is_open


def test_an_instance_of_a_queue_that_is_gone_has_no_counts(books):
    books.open(1)
    assert books.ledger.instance_counts(key(3)).requests_ok == 3
    assert books.ledger.instance_counts(key(0, generation=9)) is None


def test_the_successor_of_who_answered_is_known(books):
    """The instances of the stand-in have answered as many requests as their index says."""
    assert not books.ledger.has_answered(key(1))
    books.open(1)
    assert not books.ledger.has_answered(key(0, generation=2))
    assert books.ledger.has_answered(key(1, generation=2))
    stranger = InstanceKey(
        name=ModelName("other"), version=M1.version, generation=Generation(2), index=1
    )
    assert not books.ledger.has_answered(stranger)
    books.ledger.removed(Generation(1))
    assert not books.ledger.has_answered(key(1, generation=2))
