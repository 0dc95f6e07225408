"""Bars: what is compared with what, and what counts as held."""

import msgspec
import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.bars import BARS, SCENARIOS_OF_BARS, SERVERS_OF_BARS, Bar, Form, is_needed
from bench.peers import PEERS
from bench.report.bars import bars_table, verdicts
from bench.report.results import LibraryCost, Recovery, write_results
from bench.scenarios import SCENARIOS
from tests.unit.bench.samples import results, sample

C16 = "json16_c16"


def bar(form, limit, **others):
    values = {"case": "a case", "scenario": C16, "figure": "CPU", "of": cpu_us, "rivals": ()}
    return Bar(form=form, limit=limit, **{**values, **others})


def cpu_us(_results, one):
    return one.cpu_us


def verdict(one, *samples, **others):
    (found,) = verdicts(results(*samples, **others), [one])
    return found


OURS = (
    sample("mpserve", 0, requests=100, cpu_us=10),
    sample("mpserve", 1, requests=100, cpu_us=20),
)
TRITONS = (
    sample("triton", 0, requests=100, cpu_us=100),
    sample("triton", 1, requests=100, cpu_us=200),
)


@pytest.mark.parametrize(
    ("form", "limit", "value", "holds"),
    [
        (Form.LESS, 10, 10, True),
        (Form.LESS, 10.1, 10, False),
        (Form.MORE, 0.1, 0.1, True),
        (Form.MORE, 0.2, 0.1, False),
        (Form.SHARE, 0.1, 0.1, True),
        (Form.SHARE, 0.09, 0.1, False),
        (Form.PLAIN, 15, 15, True),
        (Form.PLAIN, 14, 15, False),
    ],
    ids=lambda one: one.name if isinstance(one, Form) else str(one),
)
def test_each_form_holds_up_to_its_limit(form, limit, value, holds):
    rivals = () if form is Form.PLAIN else ("triton",)
    found = verdict(bar(form, limit, rivals=rivals), *OURS, *TRITONS)

    assert found.value == pytest.approx(value)
    assert found.holds is holds


def test_quotients_are_taken_within_a_round():
    found = verdict(bar(Form.LESS, 1, rivals=("triton",)), *OURS, TRITONS[1])

    assert found.values == (10,)


@pytest.mark.parametrize(("form", "limit"), [(Form.LESS, 6), (Form.SHARE, 0.2)])
def test_of_several_rivals_the_best_one_counts(form, limit):
    rivals = ("mlserver-0", "mlserver-1")
    found = verdict(
        bar(form, limit, rivals=rivals),
        OURS[0],
        sample("mlserver-0", 0, requests=100, cpu_us=500),
        sample("mlserver-1", 0, requests=100, cpu_us=40),
        servers=("mpserve", *rivals),
    )

    assert found.rival == "mlserver-1"
    assert found.holds is False
    (other,) = found.others
    assert other.rival == "mlserver-0"
    assert f"mlserver-0 {'50.0' if form is Form.LESS else '0.02'}" in bars_table([found])


def test_a_bar_may_stand_beside_another_scenario_of_the_same_server():
    steady = sample("mpserve", 0, requests=10, cpu_us=8, scenario="json16_c1")
    found = verdict(bar(Form.SHARE, 1.5, beside="json16_c1"), OURS[0], steady)

    assert found.value == pytest.approx(1.25)
    assert found.rival == "json16_c1"


def test_what_was_not_measured_neither_holds_nor_fails():
    found = verdict(bar(Form.LESS, 10, rivals=("triton",)), *OURS)

    assert found.holds is None
    assert "not measured" in bars_table([found])
    assert "0 of 0 bars hold, 1 were not measured." in bars_table([found])


def test_the_table_tells_bar_figure_rounds_and_noise():
    noisy = sample("triton", 0, requests=100, cpu_us=95, foreign_share=0.3)
    text = bars_table([verdict(bar(Form.LESS, 10, rivals=("triton",)), OURS[0], noisy)])

    assert "≥ 10 x less" in text
    assert "9.50 to 9.50" in text
    assert "**no** *" in text
    assert "0 of 1 bars hold" in text


def test_all_tables_of_the_issue_name_scenarios_and_servers_that_exist():
    assert set(SCENARIOS_OF_BARS) <= set(SCENARIOS)
    assert set(SERVERS_OF_BARS) <= set(PEERS)
    for one in BARS:
        for name in (one.scenario, *one.settings):
            assert set(one.rivals) <= set(SCENARIOS[name].encodings)
        assert is_needed(one.scenario, "mpserve")
    assert not is_needed("start_100", "mlserver-0")


def test_the_cost_of_a_library_is_taken_off_both_sides():
    (digits,) = (one for one in BARS if one.figure == "CPU without predict")
    measured = {
        ("mpserve", "digits_c64"): (60, 40.0),
        ("mpserve", "digits_batched_c64"): (20, 15.0),  # 5 of its own: the best
        ("triton", "digits_c64"): (90, 40.0),  # 50 of its own: the best
        ("triton", "digits_batched_c64"): (80, 15.0),
    }
    samples = [
        sample(server, 0, requests=10, cpu_us=cpu, scenario=scenario)
        for (server, scenario), (cpu, _) in measured.items()
    ]
    costs = tuple(
        LibraryCost(scenario=scenario, server=server, cpu_us=cost)
        for (server, scenario), (_, cost) in measured.items()
    )

    assert verdict(digits, *samples, library_costs=costs).value == pytest.approx(0.1)
    assert verdict(digits, *samples).holds is None


def test_of_several_settings_the_best_one_of_each_side_counts():
    settings = {"settings": ("json16_c1",)}
    ours = (OURS[0], sample("mpserve", 0, requests=100, cpu_us=5, scenario="json16_c1"))
    theirs = (TRITONS[0], sample("triton", 0, requests=100, cpu_us=300, scenario="json16_c1"))
    least = bar(Form.LESS, 10, rivals=("triton",), **settings)

    assert verdict(least, *ours, *theirs).values == (20,)
    assert verdict(least, *ours, theirs[0]).holds is None


@pytest.mark.parametrize(("back_after_ms", "holds"), [(120.0, True), (None, False)])
def test_who_never_comes_back_after_a_kill_does_not_hold(back_after_ms, holds):
    (back,) = (one for one in BARS if one.figure == "good again, ms")
    killed = msgspec.structs.replace(
        sample("mpserve", 0, requests=10, cpu_us=1, scenario="kill_worker"),
        recovery=Recovery(failed=1, longest_wait_ms=90.0, back_after_ms=back_after_ms),
    )

    assert verdict(back, killed).holds is holds


@pytest.mark.parametrize(("tritons_us", "code"), [(200, 0), (50, 3)], ids=["held", "missed"])
def test_saved_results_are_held_against_the_bars(tmp_path, tritons_us, code):
    saved = results(OURS[0], sample("triton", 0, requests=10, cpu_us=tritons_us))
    write_results(saved, tmp_path / "run.json")

    shown = CliRunner().invoke(main, ["bars", str(tmp_path / "run.json")])

    assert shown.exit_code == code
    assert "JSON, 16 connections" in shown.output
