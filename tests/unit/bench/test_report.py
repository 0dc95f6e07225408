"""The page of a comparison: what is measured for it, and what it shows."""

from click.testing import CliRunner

from bench.__main__ import main
from bench.bars import SCENARIOS_OF_BARS, SERVERS_OF_BARS
from bench.commands.report import OTHERS, is_shown
from bench.measuring.measurement import Pace
from bench.measuring.rounds import Plan, turns
from bench.report.results import write_results
from tests.unit.bench.samples import results, sample

RUN = results(
    sample("mpserve", 0, requests=1000, cpu_us=10),
    sample("mpserve", 1, requests=1000, cpu_us=12),
    sample("triton", 0, requests=100, cpu_us=150),
    sample("triton", 1, requests=100, cpu_us=130),
)


def shown(scenario: str) -> list[str]:
    """The servers that a row of the page has."""
    plan = Plan(
        servers=(*SERVERS_OF_BARS, *OTHERS),
        scenarios=SCENARIOS_OF_BARS,
        rounds=1,
        pace=Pace(seconds=1, warmup_seconds=1),
    )
    return [turn.server for turn in turns(plan) if turn.scenario == scenario and is_shown(turn)]


def test_each_row_has_the_servers_that_it_is_held_against_and_others_where_they_can():
    everybody = ["mpserve", "triton", "mlserver-0", "mlserver-1", "mosec", "litserve"]
    assert shown("json16_c16") == everybody
    assert shown("binary16m_c1") == ["mpserve", "triton", "mlserver-0", "mlserver-1", "loopback"]
    assert shown("start_100") == ["mpserve", "triton"]


def test_a_saved_run_becomes_a_page_with_bars_plots_and_figures(tmp_path):
    write_results(RUN, tmp_path / "comparison.json")

    ran = CliRunner().invoke(main, ["report", "--page-only", "--out", str(tmp_path)])

    assert ran.exit_code == 0, ran.output
    page = (tmp_path / "comparison.md").read_text()
    assert page.startswith("# mpserve beside triton\n")
    assert "≥ 10 x less" in page
    assert "| json16_c16 | mpserve" in page
    plots = sorted(path.name for path in (tmp_path / "comparison").iterdir())
    assert plots == ["cpu.svg", "p50.svg", "p99.svg", "rate.svg"]
    assert all(f"(comparison/{name})" in page for name in plots)
    assert (tmp_path / "comparison" / "cpu.svg").read_text().startswith("<?xml")


def test_a_page_is_the_same_each_time_it_is_written(tmp_path):
    """So that a change of a saved page shows a change of what it says."""
    write_results(RUN, tmp_path / "comparison.json")
    written = []
    for _ in range(2):
        CliRunner().invoke(main, ["report", "--page-only", "--out", str(tmp_path)])
        written.append((tmp_path / "comparison" / "cpu.svg").read_text())
    assert written[0] == written[1]


def test_without_a_saved_run_there_is_nothing_to_write(tmp_path):
    ran = CliRunner().invoke(main, ["report", "--page-only", "--out", str(tmp_path)])
    assert ran.exit_code == 1
    assert "cannot read results" in ran.output
