"""Who goes first on a core, as the kernel has it."""

import os
import subprocess
import sys
import threading

import pytest

from mpserve.control import patience
from mpserve.control.patience import PATIENT_NS, be_patient, be_prompt, slice_ns

pytestmark = pytest.mark.skipif(not slice_ns(0), reason="the kernel has no slices to ask for")


@pytest.fixture
def usual():
    before = slice_ns(0)
    yield before
    be_prompt()
    assert slice_ns(0) == before


@pytest.fixture
def thread():
    """Native id of a thread that is there already."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield thread.native_id
    done.set()
    thread.join()


def idle_program() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_all_threads_are_patient_and_prompt_together(usual, thread):
    be_patient()
    assert [slice_ns(0), slice_ns(thread)] == [PATIENT_NS] * 2
    be_prompt()
    assert [slice_ns(0), slice_ns(thread)] == [usual] * 2


def test_what_was_started_meanwhile_is_prompt_again_too(usual):
    be_patient()
    done = threading.Event()
    started = threading.Thread(target=done.wait)
    started.start()
    with idle_program() as program:
        assert [slice_ns(started.native_id), slice_ns(program.pid)] == [PATIENT_NS] * 2
        be_prompt()
        assert [slice_ns(started.native_id), slice_ns(program.pid)] == [usual] * 2
    done.set()
    started.join()


def test_what_was_there_before_keeps_its_turns(usual):
    with idle_program() as program:
        be_patient()
        assert slice_ns(program.pid) == usual


def test_each_may_be_said_twice(usual):
    for _ in range(2):
        be_patient()
    for _ in range(2):
        be_prompt()
    assert slice_ns(0) == usual


def test_a_slice_of_ones_own_comes_back(usual):
    patience._set_slice(0, 2 * usual)
    be_patient()
    be_prompt()
    try:
        assert slice_ns(0) == 2 * usual
    finally:
        patience._set_slice(0, patience.USUAL_NS)
    assert slice_ns(0) == usual


def test_nothing_else_of_the_scheduling_changes(usual):
    before = (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))
    be_patient()
    assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before


def test_a_machine_without_such_slices_is_left_alone(usual, monkeypatch):
    monkeypatch.setattr(patience, "_CALLS", None)
    be_patient()
    be_prompt()
    assert slice_ns(0) == 0
    monkeypatch.undo()
    assert slice_ns(0) == usual
