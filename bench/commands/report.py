"""`python -m bench report`: the page that compares the servers, with plots, from one run."""

import sys
from pathlib import Path
from typing import Final

import click

from bench.bars import SCENARIOS_OF_BARS, SERVERS_OF_BARS, is_needed
from bench.commands.page_options import page_options
from bench.measuring.measurement import Pace
from bench.measuring.rounds import Plan, Turn, turns
from bench.progress import tell
from bench.report.comparison import page
from bench.report.comparison_plots import write_plots
from bench.report.results import Results, read_results, write_results
from bench.run import run
from bench.workshop import PROJECT

FOLDER: Final = PROJECT / "docs" / "performance"
NAME: Final = "comparison"
# Beside what the bars need: other ways to serve a Python model, in the rows that they can do.
OTHERS: Final = ("mosec", "litserve")
ROWS_OF_OTHERS: Final = ("json16_c1", "json16_c16", "json16_c64", "open_1000")


@click.command(name="report")
@page_options(seconds=2, folder=FOLDER)
def report_command(*, rounds: int, seconds: int, warmup: int, out: Path, page_only: bool) -> None:
    """Measure what must hold beside the peers, and write it as a page: comparison.md, its plots in
    comparison/, and comparison.json, which `compare` takes. A round takes about 11 minutes.

    Exit code 1: something could not be measured. Whether the bars hold, the page says.
    """
    saved = out / f"{NAME}.json"
    if not page_only:
        plan = Plan(
            servers=(*SERVERS_OF_BARS, *OTHERS),
            scenarios=SCENARIOS_OF_BARS,
            rounds=rounds,
            pace=Pace(seconds=seconds, warmup_seconds=warmup),
        )
        wanted = tuple(turn for turn in turns(plan) if is_shown(turn))
        write_results(run(plan, wanted, tell=tell), saved)
    results = read_results(saved)
    write_report(results, out)
    tell(f"written: {out / NAME}.md")
    sys.exit(1 if results.failures or not results.is_complete else 0)


def is_shown(turn: Turn) -> bool:
    """Whether the page has this server in this row."""
    if turn.server in OTHERS:
        return turn.scenario in ROWS_OF_OTHERS
    return is_needed(turn.scenario, turn.server)


def write_report(results: Results, out: Path) -> None:
    """Write the page and its plots; `out` holds nothing else of that name."""
    plots = write_plots(results, out / NAME)
    (out / f"{NAME}.md").write_text("\n".join(page(results, plots)) + "\n")
