"""`python -m bench bars`: saved results, held against what must hold."""

import sys
from pathlib import Path

import click

from bench.report.bars import bars_table, verdicts
from bench.report.results import read_results

MISSED = 3


@click.command(name="bars")
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def bars_command(*, results: Path) -> None:
    """Hold saved results of `python -m bench` against the bars of `bench/bars.py`.

    Exit code 3: a bar that was measured does not hold.
    """
    found = verdicts(read_results(results))
    click.echo(bars_table(found))
    sys.exit(MISSED if any(one.holds is False for one in found) else 0)
