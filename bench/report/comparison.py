"""The page of one run beside the peers: what must hold, plots, and the whole table."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report.bars import bars_table, verdicts
from bench.report.results import Results
from bench.report.table import markdown


def page(results: Results, plots: Sequence[Path]) -> Iterator[str]:
    """Write the page; `plots` lie in a folder beside it."""
    first, *others = results.servers
    yield f"# {first} beside {', '.join(others) or 'nothing else'}"
    yield ""
    yield "Written by `python -m bench report` (`make bench`) from one run, which is kept in"
    yield "[comparison.json](comparison.json). Rates and times are those of its machine; the ratios"
    yield "are what carries over. [How it measures](../../bench/README.md)."
    yield ""
    yield "## What must hold"
    yield ""
    yield "Quotients are taken round by round; the median counts. Where two servers are named as"
    yield "rivals, the better one of them counts, and the last column shows the other."
    yield ""
    yield bars_table(verdicts(results))
    yield ""
    yield "## Plots"
    yield ""
    yield "Medians of the rounds; thin lines go from the lowest to the highest round."
    for plot in plots:
        yield ""
        yield f"![{plot.stem}]({plot.parent.name}/{plot.name})"
    yield ""
    yield "## All figures"
    yield ""
    yield markdown(results)
