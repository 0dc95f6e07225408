"""What a worker tells of its model's metrics, and when."""

import pytest

from mpserve.telemetry.exposition import Kind
from mpserve.telemetry.model_metrics import MetricsRecorder
from mpserve.worker.metrics_thread import MetricsThread
from tests.fixtures.waiting import wait_until


class Told:
    """What was sent: value and question of each message."""

    def __init__(self):
        self.messages = []

    def __call__(self, message):
        values = [series.value for family in message.families for series in family.series]
        self.messages.append((values, message.question))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def recorder():
    return MetricsRecorder()


@pytest.fixture
def thread(told, recorder):
    thread = MetricsThread(told, recorder)
    yield thread
    thread.end()


def test_nothing_is_told_and_no_thread_runs_where_nothing_is_counted(thread, told):
    thread.tell_again()
    thread.end()
    assert told.messages == []


def test_the_first_change_is_told_before_the_model_goes_on(thread, told, recorder):
    del thread
    recorder.family("level", Kind.GAUGE, "").set((), 3)
    assert told.messages[0] == ([3.0], 0)


def test_a_question_is_answered_at_once_with_its_number(thread, told, recorder):
    gauge = recorder.family("level", Kind.GAUGE, "")
    gauge.set((), 1)
    gauge.set((), 2)
    thread.answer(7)
    assert ([2.0], 7) in told.messages


def test_what_changes_later_is_told_without_a_question(thread, told, recorder):
    del thread
    gauge = recorder.family("level", Kind.GAUGE, "")
    gauge.set((), 1)
    gauge.set((), 2)
    wait_until(lambda: ([2.0], 0) in told.messages, what="the change to be told")


def test_what_was_counted_before_a_fork_is_told_by_each_process(told, recorder):
    recorder.family("level", Kind.GAUGE, "").set((), 5)
    thread = MetricsThread(told, recorder)
    assert told.messages[0] == ([5.0], 0)
    thread.end()


def test_the_last_change_is_told_at_the_end(thread, told, recorder):
    gauge = recorder.family("level", Kind.GAUGE, "")
    gauge.set((), 1)
    gauge.set((), 9)
    thread.end()
    assert told.messages[-1] == ([9.0], 0)
