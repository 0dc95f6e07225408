"""`python -m bench compare`: two saved results, and what became worse between them."""

import sys
from pathlib import Path

import click

from bench.progress import tell
from bench.report.regression import Change, changes, regressions
from bench.report.results import read_results
from bench.report.table import three_digits

WORSE = 3

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(name="compare")
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 10),
    default=0.1,
    show_default=True,
    help="How much worse a median may be: 0.1 is 10 %.",
)
def compare_command(*, before: Path, after: Path, tolerance: float) -> None:
    """Compare two saved results of `python -m bench`.

    A figure is worse when its median grew by more than the tolerance and the rounds do not overlap.
    Exit code 3: something is worse. Compare only results of one machine.
    """
    old, new = read_results(before), read_results(after)
    found = changes(old, new)
    if (old.machine.cpu_model, old.machine.cores) != (new.machine.cpu_model, new.machine.cores):
        tell("warning: the results are of two machines")
    worse = regressions(found, tolerance=tolerance)
    for one in found:
        click.echo(_line(one, mark="WORSE" if one in worse else ""))
    sys.exit(WORSE if worse else 0)


def _line(one: Change, *, mark: str) -> str:
    moved = f"{three_digits(one.before):>10} -> {three_digits(one.after):>10}  x{one.factor:.2f}"
    return f"{one.scenario:16} {one.server:12} {one.figure:16} {moved}  {mark}".rstrip()
