"""What clients see of a killed process, read from their answers."""

import threading

import numpy as np
import pytest

from bench.errors import LoadFailed
from bench.loading.open_loop import OpenLoad, OpenResult, parse_open_loop
from bench.loading.v2_client import HttpRequest
from bench.measuring import disturbance
from bench.measuring.disturbance import recovery, run_disturbed

MS = 1_000_000
SEEN = {"duration_ns": 2_000_000_000, "bytes": 10, "broken": 0, "unanswered": 0}


def answers(*rows):
    return np.array(rows, np.int64).reshape(-1, 3)


def test_the_first_good_answer_of_a_later_request_shows_that_it_is_back():
    seen = recovery(
        answers(
            (0, 1 * MS, 200),
            (9 * MS, 40 * MS, 200),  # due before the kill: says nothing of the time after
            (11 * MS, 2 * MS, 500),
            (12 * MS, 30 * MS, 200),
            (60 * MS, 1 * MS, 200),
        ),
        killed_at_ns=10 * MS,
        failed=1,
    )

    assert seen.back_after_ms == pytest.approx(32)
    assert seen.longest_wait_ms == pytest.approx(40)
    assert seen.failed == 1


def test_without_a_good_answer_after_the_kill_it_is_not_back():
    assert recovery(answers((0, MS, 200)), killed_at_ns=MS, failed=9).back_after_ms is None


def test_an_open_loop_counts_errors_by_kind_and_takes_percentiles_of_good_answers():
    result = parse_open_loop(
        {**SEEN, "broken": 1, "unanswered": 2},
        answers((0, 1 * MS, 200), (0, 3 * MS, 200), (0, 99 * MS, 503)),
        client_cpu_ns=7,
    )

    assert result.requests == 2
    assert result.p50_us == pytest.approx(2000)
    assert result.max_us == pytest.approx(3000)
    assert result.error_kinds == {"status": 1, "broken": 1, "unanswered": 2}
    assert result.requests_per_second == pytest.approx(1.0)


def test_an_open_loop_without_a_good_answer_is_a_failure():
    with pytest.raises(LoadFailed, match="no request answered with 200"):
        parse_open_loop(SEEN, answers((0, MS, 500)), client_cpu_ns=0)


class Broken:
    """A disturbance that fails before it does anything."""

    killed_at_ns = None

    def run(self, _is_over: threading.Event) -> None:
        raise PermissionError("model.py can not be written")


def test_a_load_whose_disturbance_failed_is_no_figure(monkeypatch):
    def load(*_: object, **__: object) -> OpenResult:
        rows = answers((0, MS, 200))
        return OpenResult(answers=rows, load=parse_open_loop(SEEN, rows, client_cpu_ns=0))

    monkeypatch.setattr(disturbance, "run_open_loop", load)
    asked = HttpRequest(method="GET", path="/")
    paced = OpenLoad(connections=1, rate=1.0, seconds=1)

    with pytest.raises(PermissionError, match="can not be written"):
        run_disturbed(asked, paced, Broken(), port=1)
