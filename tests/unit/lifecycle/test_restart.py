import pytest

from mpserve.lifecycle.restart import Deaths, RestartPolicy, record_death, restart_at_ns

POLICY = RestartPolicy(max_deaths=5, window_ns=1_000, first_delay_ns=10, max_delay_ns=30)


@pytest.mark.parametrize(
    ("deaths", "at_ns"),
    [
        ((100,), 100),
        ((100, 100), 110),
        ((100, 100, 100), 120),
        ((100, 100, 100, 100), 130),
        ((100, 100, 100, 100, 100), None),
    ],
    ids=["at once", "after the first delay", "doubled", "at most the longest", "given up"],
)
def test_the_delay_grows_with_each_death_until_it_is_given_up(deaths, at_ns):
    assert restart_at_ns(Deaths(at_ns=deaths), policy=POLICY) == at_ns


def test_deaths_that_are_long_ago_do_not_count():
    deaths = Deaths(at_ns=(0, 500, 900))
    assert record_death(deaths, now_ns=1_000, policy=POLICY).at_ns == (500, 900, 1_000)
