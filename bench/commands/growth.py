"""`python -m bench growth`: cost against size, as tables and plots."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from bench.commands.page_options import page_options
from bench.errors import BenchError
from bench.growth import MOST_EXCESS, Growth, measure_sweep
from bench.loading import closed_loop
from bench.measuring.bytecode import compile_bytecode
from bench.measuring.leftovers import sweep as sweep_leftovers
from bench.measuring.machine import read_facts
from bench.measuring.measurement import Pace
from bench.names import choose
from bench.peers.mpserve import Mpserve
from bench.progress import tell
from bench.report.plot import write_svg
from bench.report.table import three_digits
from bench.sweeps import SWEEPS
from bench.workshop import PROJECT, clear_scratch, lock

FOLDER = PROJECT / "docs" / "performance" / "growth"


@click.command(name="growth")
@click.option("--sweeps", default="all", show_default=True, help="Comma-separated names.")
@page_options(seconds=1, folder=FOLDER)
def growth_command(
    *, sweeps: str, rounds: int, seconds: int, warmup: int, out: Path, page_only: bool
) -> None:
    """Measure what a request costs as something else grows, and draw it: all in about 10 minutes.

    Exit code 1: a point could not be measured. The page says of each slope whether it may be so.
    """
    names = choose(sweeps, tuple(SWEEPS), what="sweep")
    out.mkdir(parents=True, exist_ok=True)
    if not page_only:
        pace = Pace(seconds=seconds, warmup_seconds=warmup)
        _measure(names, rounds=rounds, pace=pace, folder=out)
    found = [_read(out / f"{name}.json") for name in SWEEPS if (out / f"{name}.json").exists()]
    for growth in found:
        if growth.curves[0].points:
            write_svg(growth, out / f"{growth.sweep}.svg")
    (out / "README.md").write_text("\n".join(page(found)) + "\n")
    sys.exit(1 if any(growth.failures for growth in found if growth.sweep in names) else 0)


def page(found: Sequence[Growth]) -> Iterator[str]:
    """Write the page: one section with plot and table for each sweep."""
    yield "# What a request costs as something else grows"
    yield ""
    yield "Written by `python -m bench growth`. Both axes of the plots are logarithmic; bars show"
    yield "the lowest and the highest round. A slope of 0 is flat, 1 is proportional. Work (bytes,"
    yield "rows) may cost in proportion; what lies idle (models, versions, connections) no CPU."
    yield (
        f"Excess: the most that a point costs beyond what it may by a smaller one; up to "
        f"{MOST_EXCESS:g} is noise."
    )
    yield ""
    yield "| what grows | figure | slope | of the last points | may be | excess | holds |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    for growth in found:
        for one in growth.curves:
            verdict = {True: "yes", False: "**no**", None: "?"}[one.holds]
            yield (
                f"| [{growth.sweep}](#{growth.sweep}) | {one.label} | {one.slope:.2f} "
                f"| {one.end_slope:.2f} | {one.slope_limit:.0f} | {one.excess:.2f} | {verdict} |"
            )
    for growth in found:
        machine = growth.machine
        yield from ("", f"## {growth.sweep}", "")
        if growth.curves[0].points:
            yield from (f"![{growth.sweep}]({growth.sweep}.svg)", "")
        yield f"| {growth.axis} | " + " | ".join(one.label for one in growth.curves) + " |"
        yield "| ---: " * (len(growth.curves) + 1) + "|"
        for index, point in enumerate(growth.curves[0].points):
            cells = (three_digits(one.medians[index]) for one in growth.curves)
            yield f"| {point:,} | " + " | ".join(cells) + " |"
        slopes = (f"{one.slope:.2f} (may be {one.slope_limit:.0f})" for one in growth.curves)
        yield "| slope | " + " | ".join(slopes) + " |"
        yield ""
        yield (
            f"Medians of {growth.rounds} rounds of {growth.seconds} s; {growth.version}; "
            f"{machine.measured_at}, {machine.cpu_model}, {machine.cores} cores, "
            f"Python {machine.python}; {growth.bytecode}."
        )
        for point, reason in growth.failures.items():
            yield f"**{point:,} could not be measured in each round**: {reason}"


def _measure(names: Sequence[str], *, rounds: int, pace: Pace, folder: Path) -> None:
    closed_loop.require("wrk")
    closed_loop.allow_connections()
    with lock():
        sweep_leftovers(tell)
        clear_scratch()
        bytecode = compile_bytecode(Mpserve().python)
        tell(bytecode)
        for name in names:
            growth = measure_sweep(
                SWEEPS[name],
                machine=read_facts(),
                bytecode=bytecode,
                rounds=rounds,
                pace=pace,
                tell=tell,
            )
            text = msgspec.json.format(msgspec.json.encode(growth), indent=1)
            (folder / f"{name}.json").write_bytes(text)


def _read(path: Path) -> Growth:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Growth)
    except msgspec.MsgspecError as error:
        raise BenchError(f"{path} holds no growth of this harness: {error}") from error
