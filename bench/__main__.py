"""`python -m bench`: measure servers beside each other and print a Markdown table."""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from bench.bars import SCENARIOS_OF_BARS, SERVERS_OF_BARS, is_needed
from bench.commands.bars import bars_command
from bench.commands.compare import compare_command
from bench.commands.growth import growth_command
from bench.commands.load import load_command
from bench.commands.regions import regions_command
from bench.commands.report import report_command
from bench.errors import BenchError
from bench.installation import install
from bench.measuring.measurement import Pace
from bench.measuring.rounds import Plan, turns
from bench.names import choose
from bench.peers import PEERS
from bench.progress import tell
from bench.report.bars import bars_table, verdicts
from bench.report.results import Results, write_results
from bench.report.table import markdown
from bench.run import run
from bench.scenarios import SCENARIOS
from bench.workshop import WORKSHOP

QUICK_ROUNDS: Final = 1
QUICK_SECONDS: Final = 2
TIME_FORMAT: Final = "%Y%m%dT%H%M%SZ.json"
INTERRUPTED: Final = 130  # as a shell says of SIGINT


class Bench(click.Group):
    """Ends with the exit code of what went wrong, and says it, whatever the command."""

    def invoke(self, ctx: click.Context) -> None:
        """Run the command."""
        try:
            super().invoke(ctx)
        except BenchError as error:
            tell(f"error: {error}")
            ctx.exit(error.exit_code)


@click.group(
    cls=Bench,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.pass_context
@click.option("--servers", default="all", show_default=True, help="Comma-separated names.")
@click.option("--scenarios", default="all", show_default=True, help="Comma-separated names.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How often each server is measured at each scenario.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=5,
    show_default=True,
    help="Load in one measurement.",
)
@click.option(
    "--warmup",
    type=click.IntRange(0, 600),
    default=1,
    show_default=True,
    help="Seconds of load before it that do not count.",
)
@click.option(
    "--bars",
    "for_bars",
    is_flag=True,
    help="Measure what must hold (`bench/bars.py`), on the servers that it is held against.",
)
@click.option("--quick", is_flag=True, help="One round of 2 s: a look, not a measurement.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the results go.  [default: .bench/results/TIME.json]",
)
@click.option(
    "--install",
    "is_installing",
    is_flag=True,
    help="Install load generators and servers; measure nothing.",
)
@click.option("--list", "is_listing", is_flag=True, help="List servers and scenarios.")
def main(  # noqa: PLR0913  # one parameter per option
    context: click.Context,
    *,
    servers: str,
    scenarios: str,
    rounds: int,
    seconds: int,
    warmup: int,
    for_bars: bool,
    quick: bool,
    json_path: Path | None,
    is_installing: bool,
    is_listing: bool,
) -> None:
    """Measure model servers beside each other, in alternating rounds, and print one Markdown table.

    Without a command:
    The first server is compared with the others. Progress goes to standard error. Exit code 1:
    a measurement failed; 2: something has to be installed, or asked for differently; 130: it was
    interrupted, and what was measured so far is shown.
    """
    if context.invoked_subcommand is not None:
        return
    if is_listing:
        _list()
        return
    all_servers, all_scenarios = tuple(PEERS), tuple(SCENARIOS)
    if for_bars:
        all_servers, all_scenarios = SERVERS_OF_BARS, SCENARIOS_OF_BARS
    chosen = choose(servers, all_servers, what="server")
    if is_installing:
        install(chosen, tell=tell)
        return
    plan = Plan(
        servers=chosen,
        scenarios=choose(scenarios, all_scenarios, what="scenario"),
        rounds=QUICK_ROUNDS if quick else rounds,
        pace=Pace(seconds=QUICK_SECONDS if quick else seconds, warmup_seconds=warmup),
    )
    wanted = tuple(
        turn for turn in turns(plan) if not for_bars or is_needed(turn.scenario, turn.server)
    )
    results = run(plan, wanted, tell=tell)
    path = json_path or WORKSHOP / "results" / time.strftime(TIME_FORMAT, time.gmtime())
    write_results(results, path)
    click.echo(markdown(results))
    held = [one for one in verdicts(results) if for_bars or one.values]
    if held:
        click.echo(f"\n{bars_table(held)}")
    tell(f"results: {os.path.relpath(path)}")
    sys.exit(_exit_code(results))


main.add_command(load_command)
main.add_command(bars_command)
main.add_command(compare_command)
main.add_command(growth_command)
main.add_command(regions_command)
main.add_command(report_command)


def _exit_code(results: Results) -> int:
    if not results.is_complete:
        return INTERRUPTED
    return 1 if results.failures else 0


def _list() -> None:
    click.echo("servers: " + ", ".join(PEERS))
    click.echo("scenarios:")
    for scenario in SCENARIOS.values():
        click.echo(f"  {scenario.name:14} {scenario.title} ({', '.join(scenario.encodings)})")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    main(prog_name="python -m bench")
