"""Slopes, curves, and the page that shows them."""

import msgspec
import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.commands.growth import page
from bench.growth import Growth, curves, slope
from bench.report.plot import write_svg
from bench.sweeps import SWEEPS, Figure, Sweep
from tests.unit.bench.samples import FACTS, sample

SWEEP = Sweep(
    name="things",
    axis="things",
    points=(1, 2, 4),
    at=SWEEPS["rows"].at,
    figures=(Figure(label="CPU", of=lambda one: one.cpu_us, slope=1.0),),
)


def taken(*cpu_us):
    return [sample("mpserve", index, requests=10, cpu_us=one) for index, one in enumerate(cpu_us)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [((5, 5, 5), 0.0), ((3, 6, 12), 1.0), ((1, 4, 16), 2.0), ((8, 4, 2), -1.0)],
    ids=["flat", "proportional", "quadratic", "falling"],
)
def test_a_slope_tells_how_a_cost_grows(values, expected):
    assert slope((1, 2, 4), values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cpu_us", "holds"),
    [
        ((10, 20, 40), True),
        ((10, 10, 10), True),
        ((10, 40, 160), False),
        ((1000, 10, 40, 160), False),
        ((10, 30, 30, 30, 30, 30, 30, 30), True),
        ((10, 50, 50, 50, 50, 50, 50, 50), False),
    ],
    ids=["as it may", "better", "quadratic", "worse at the end", "one step", "a step too high"],
)
def test_a_curve_that_grows_faster_than_it_may_is_told(cpu_us, holds):
    points = tuple(1 << shift for shift in range(len(cpu_us)))
    (curve,) = curves(
        msgspec.structs.replace(SWEEP, points=points),
        {point: taken(one) for point, one in zip(points, cpu_us, strict=True)},
    )

    assert curve.holds is holds


def test_a_single_point_has_no_slope_and_no_verdict():
    assert slope((1,), (5,)) == 0.0
    (curve,) = curves(SWEEP, {1: taken(5)})
    assert curve.holds is None


def test_a_curve_has_medians_and_leaves_out_points_that_failed():
    (curve,) = curves(SWEEP, {1: taken(9, 10, 30), 4: taken(40, 40, 40)})

    assert curve.points == (1, 4)
    assert curve.medians == pytest.approx((10, 40))
    assert curve.lows == pytest.approx((9, 40))
    assert curve.highs == pytest.approx((30, 40))
    assert curve.slope == pytest.approx(1.0)


def grown():
    made = tuple(curves(SWEEP, {1: taken(10), 2: taken(20)}))
    return Growth(
        sweep="things",
        axis="things",
        machine=FACTS,
        version="v",
        bytecode="none",
        rounds=1,
        seconds=1,
        curves=made,
        failures={4: "too many"},
    )


def test_the_page_shows_each_point_and_what_failed():
    text = "\n".join(page([grown()]))

    assert "| 2 | 20.0 |" in text
    assert "1.00 (may be 1)" in text
    assert "| [things](#things) | CPU | 1.00 | 1.00 | 1 | 1.00 | yes |" in text
    assert "**4 could not be measured in each round**: too many" in text


def test_a_sweep_of_which_nothing_could_be_measured_is_told_without_a_plot(tmp_path):
    nothing = msgspec.structs.replace(
        grown(), sweep="models", curves=tuple(curves(SWEEP, {})), failures={1: "no server"}
    )
    (tmp_path / "models.json").write_bytes(msgspec.json.encode(nothing))
    arguments = ["growth", "--page-only", "--sweeps=models", "--out", str(tmp_path)]

    ran = CliRunner().invoke(main, arguments)

    assert ran.exit_code == 1, ran.exception
    text = (tmp_path / "README.md").read_text()
    assert "| [models](#models) | CPU | 0.00 | 0.00 | 1 | 1.00 | ? |" in text
    assert "no server" in text
    assert ".svg" not in text


def test_a_plot_is_the_same_bytes_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        write_svg(grown(), tmp_path / name)

    text = (tmp_path / "a").read_text()
    assert "slope 1.00" in text
    assert text == (tmp_path / "b").read_text()


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=lambda sweep: sweep.name)
def test_each_point_of_a_sweep_is_a_scenario_for_its_server(sweep):
    for point in sweep.points:
        subject = sweep.at(point)
        assert subject.peer.name in subject.scenario.encodings
