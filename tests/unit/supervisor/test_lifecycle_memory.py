"""What a supervisor knows of the one before it."""

import os

import pytest

from mpserve.lifecycle.actual import ModelRecord
from mpserve.lifecycle.operation_record import Operation
from mpserve.lifecycle.wanted import Wish
from mpserve.model.identity import ModelName
from mpserve.supervisor.checkpoint import Checkpoint, checkpoint_files
from mpserve.supervisor.lifecycle_memory import MODEL_PREFIX, WISH_PREFIX, LifecycleMemory

NAME = ModelName("m")


@pytest.fixture
def checkpoint():
    pair = checkpoint_files()
    yield Checkpoint(pair)
    for fd in pair:
        os.close(fd)


def known(**others) -> ModelRecord:
    return ModelRecord(name=NAME, **others)


@pytest.mark.parametrize(
    ("model", "is_open"),
    [
        (None, True),
        (known(settled=2), True),
        (known(settled=3), False),
        (known(settled=3, operation=Operation(wish=3, definition=None)), True),
    ],
    ids=["nothing was begun", "an earlier one was settled", "settled", "it goes on"],
)
def test_a_wish_is_open_unless_it_was_settled(checkpoint, model, is_open):
    checkpoint.put(f"{WISH_PREFIX}{NAME}", Wish(number=3, name=NAME, definition=None))
    if model is not None:
        checkpoint.put(f"{MODEL_PREFIX}{NAME}", model)
    memory = LifecycleMemory(checkpoint)
    wanted = memory.wanted(memory.actual())
    assert wanted.wishes[NAME].number == memory.last_wish() == 3
    assert wanted.open == ({NAME} if is_open else set())
