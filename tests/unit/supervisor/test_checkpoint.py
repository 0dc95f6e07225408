"""The log of what the supervisor knows: whole entries, whenever the writer was killed."""

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpserve.supervisor import checkpoint as module
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files


class Fact(msgspec.Struct, frozen=True):
    text: str


@pytest.fixture
def files():
    pair = checkpoint_files()
    yield pair
    for fd in pair:
        os.close(fd)


def facts(checkpoint: Checkpoint) -> dict[str, str]:
    return {key: fact.text for key, fact in checkpoint.read_all("", Fact).items()}


def test_the_next_one_reads_what_the_last_one_kept(files):
    first = Checkpoint(files)
    assert first.is_empty()
    first.put("model/a", Fact("1"))
    first.put("model/b", Fact("2"))
    first.put("wish/a", Fact("3"))
    first.put("model/a", Fact("4"))
    first.drop("model/b")
    second = Checkpoint(files)
    assert not second.is_empty()
    assert second.read_all("model/", Fact) == {"a": Fact("4")}
    assert second.read("wish/a", Fact) == Fact("3")
    assert second.read("model/b", Fact) is None
    second.put("model/b", Fact("5"))
    assert facts(Checkpoint(files)) == {"model/a": "4", "wish/a": "3", "model/b": "5"}


def test_what_is_noted_is_kept_before_anything_that_is_put_later(files):
    first = Checkpoint(files)
    first.note("model/a", Fact("1"))
    first.note("model/a", Fact("2"))
    assert facts(Checkpoint(files)) == {}
    first = Checkpoint(files)
    first.note("model/a", Fact("3"))
    first.note("model/b", Fact("4"))
    first.put("wish/a", Fact("5"))
    assert facts(Checkpoint(files)) == {"model/a": "3", "model/b": "4", "wish/a": "5"}


def test_what_is_noted_is_read_and_dropped_like_all_else(files):
    checkpoint = Checkpoint(files)
    checkpoint.note("a", Fact("1"))
    assert checkpoint.read("a", Fact) == Fact("1")
    checkpoint.note("a", Fact("2"))
    checkpoint.drop("a")
    checkpoint.note("b", Fact("3"))
    checkpoint.flush()
    assert facts(Checkpoint(files)) == {"b": "3"}


def test_what_is_noted_several_times_is_written_once(files, monkeypatch):
    written = []
    write = os.pwrite
    checkpoint = Checkpoint(files)
    monkeypatch.setattr(os, "pwrite", lambda *row: written.append(row) or write(*row))
    for number in range(9):
        checkpoint.note("a", Fact(str(number)))
        checkpoint.note("b", Fact(str(number)))
    checkpoint.flush()
    assert len(written) == 1
    assert facts(checkpoint) == {"a": "8", "b": "8"}


def test_it_does_not_grow_with_the_number_of_changes(files, monkeypatch):
    monkeypatch.setattr(module, "_SPARE_BYTES", 1000)
    checkpoint = Checkpoint(files)
    for number in range(5000):
        checkpoint.put(f"key/{number % 3}", Fact(f"{number:032}"))
    assert sum(os.fstat(fd).st_size for fd in files) < 3000
    assert facts(Checkpoint(files)) == {
        f"key/{number % 3}": f"{number:032}" for number in range(4997, 5000)
    }


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.text(max_size=9))), max_size=12
)


@given(steps=STEPS, lost=st.integers(0, 40))
def test_an_entry_that_was_cut_off_is_not_there_and_all_before_it_are(steps, lost):
    """Whatever the writer got onto the file counts up to the last whole entry."""
    files = checkpoint_files()
    try:
        checkpoint = Checkpoint(files)
        states = [dict[str, str]()]
        for key, text in steps:
            known = dict(states[-1])
            if text is None:
                checkpoint.drop(key)
                known.pop(key, None)
            else:
                checkpoint.put(key, Fact(text))
                known[key] = text
            states.append(known)
        present = max(files, key=lambda fd: os.pread(fd, 8, 0))
        os.ftruncate(present, max(os.fstat(present).st_size - lost, 8))
        seen = facts(Checkpoint(files))
        assert seen in states
        if lost == 0:
            assert seen == states[-1]
    finally:
        for fd in files:
            os.close(fd)
