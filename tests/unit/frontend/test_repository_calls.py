"""Every call to the supervisor is answered once, whatever happens."""

from collections.abc import Callable

import pytest

from mpserve.codec.management_json import LoadParameters
from mpserve.control.messages import CallDone
from mpserve.errors import ErrorCode
from mpserve.frontend.handlers.repository import (
    INDEX_SECONDS,
    LOAD_SLACK_SECONDS,
    UNLOAD_SECONDS,
    RepositoryCalls,
)
from mpserve.settings import Settings


class Clock:
    """A loop's timers that run when the test says so."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[[int], None], call_id: int) -> "Timer":
        timer = Timer(delay, callback, call_id)
        self.timers.append(timer)
        return timer

    def expire(self) -> None:
        for timer in self.timers:
            if not timer.cancelled:
                timer.callback(timer.call_id)


class Timer:
    """One of them."""

    def __init__(self, delay: float, callback: Callable[[int], None], call_id: int) -> None:
        self.delay, self.callback, self.call_id = delay, callback, call_id
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sent() -> list:
    return []


@pytest.fixture
def calls(clock: Clock, sent: list) -> RepositoryCalls:
    settings = Settings(model_load_timeout_secs=100, model_load_retry_count=2)
    return RepositoryCalls(send=sent.append, call_later=clock.call_later, settings=settings)


def ask_all(calls: RepositoryCalls) -> list:
    results: list = []
    calls.load("m", LoadParameters(), results.append)
    calls.unload("m", results.append, unload_dependents=False)
    calls.index(results.append, ready_only=False)
    return results


def test_each_kind_of_call_has_its_own_deadline(calls, clock):
    ask_all(calls)
    assert [timer.delay for timer in clock.timers] == [
        300 + LOAD_SLACK_SECONDS, UNLOAD_SECONDS, INDEX_SECONDS
    ]  # fmt: skip


def test_a_deadline_answers_for_the_supervisor(calls, clock):
    results = ask_all(calls)
    clock.expire()
    assert [result.code for result in results] == [ErrorCode.DEADLINE] * 3
    assert "load of 'm': the supervisor did not answer within 360 s" in results[0].message
    assert calls.waiting_count() == 0


def test_a_late_answer_is_dropped(calls, clock, sent):
    results = ask_all(calls)
    clock.expire()
    for call in sent:
        calls.on_reply(CallDone(call_id=call.call_id, failure=None))
    assert len(results) == 3


def test_an_answer_in_time_stops_the_deadline(calls, clock, sent):
    results = ask_all(calls)
    for call in sent:
        calls.on_reply(CallDone(call_id=call.call_id, failure=None))
    clock.expire()
    assert results == [None] * 3


def test_the_end_of_the_supervisor_answers_all_calls_and_all_later_ones(calls, sent):
    results = ask_all(calls)
    calls.end()
    later = ask_all(calls)
    assert [result.code for result in results + later] == [ErrorCode.UNAVAILABLE] * 6
    assert len(sent) == 3
