"""What counts as worse than before."""

import pytest

from bench.errors import UsageError
from bench.report.regression import changes, regressions
from tests.unit.bench.samples import results, sample


def run(*cpu_us, scenario="json16_c16"):
    return results(
        *(
            sample("mpserve", index, requests=1000, cpu_us=one, scenario=scenario)
            for index, one in enumerate(cpu_us)
        )
    )


def worse(before, after, *, tolerance=0.1):
    return [one.figure for one in regressions(changes(before, after), tolerance=tolerance)]


def test_a_figure_that_grew_in_all_rounds_is_a_regression():
    assert worse(run(10, 11, 12), run(14, 15, 16)) == ["CPU µs/request"]


def test_one_bad_round_is_none():
    assert worse(run(10, 11, 12), run(11, 15, 16)) == []


def test_a_change_within_the_tolerance_is_none():
    assert worse(run(10.0, 10.1, 10.2), run(10.3, 10.4, 10.5)) == []
    assert worse(run(10.0, 10.1, 10.2), run(10.3, 10.4, 10.5), tolerance=0.01) != []


def test_errors_where_there_were_none_are_a_regression():
    before = results(sample("mpserve", 0, requests=10, cpu_us=1))
    after = results(sample("mpserve", 0, requests=10, cpu_us=1, errors=1))

    assert worse(before, after) == ["errors"]


def test_an_improvement_is_none():
    (first, *_) = changes(run(10, 11, 12), run(5, 6, 7))

    assert first.factor == pytest.approx(6 / 11)
    assert worse(run(10, 11, 12), run(5, 6, 7)) == []


def test_results_with_nothing_in_common_are_refused():
    with pytest.raises(UsageError, match="in common"):
        changes(
            results(sample("triton", 0, requests=1, cpu_us=1)),
            results(sample("mpserve", 0, requests=1, cpu_us=1)),
        )
