"""A run as SVG: for each figure one plot, a group of bars for each scenario, a bar a server."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from bench.errors import MissingTool
from bench.report.results import Results, Sample
from bench.scenarios import SCENARIOS, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN: Final = 10.0
HEIGHT_IN: Final = 3.4
GROUP: Final = 0.8  # of the room between two scenarios
REQUESTS: Final = frozenset({Measure.INFER, Measure.OPEN, Measure.RELOAD, Measure.LIVE})
CALLS: Final = frozenset({Measure.LOAD, Measure.UNLOAD, Measure.START})


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """One file: a figure of all scenarios that measure such a thing."""

    name: str
    label: str
    of: Callable[[Sample], float]
    measures: frozenset[Measure]


PLOTS: Final = (
    Plot(
        name="cpu",
        label="CPU µs per request (less is better)",
        of=lambda sample: sample.cpu_us,
        measures=REQUESTS,
    ),
    Plot(
        name="rate",
        label="requests per second (more is better)",
        of=lambda sample: sample.load.requests_per_second,
        measures=frozenset({Measure.INFER}),
    ),
    Plot(
        name="p50",
        label="p50 µs (less is better)",
        of=lambda sample: sample.load.p50_us,
        measures=REQUESTS,
    ),
    Plot(
        name="p99",
        label="p99 µs (less is better)",
        of=lambda sample: sample.load.p99_us,
        measures=REQUESTS,
    ),
    Plot(
        name="starts",
        label="ms of one load or start (less is better)",
        of=lambda sample: sample.load.p50_us / 1e3,
        measures=CALLS,
    ),
)


def write_plots(results: Results, folder: Path) -> list[Path]:
    """Draw what the run has; returns the files.

    Raises
    ------
    MissingTool
        matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for plot in PLOTS:
        scenarios = [
            name
            for name in results.scenarios
            if SCENARIOS[name].measure in plot.measures
            and any(sample.scenario == name for sample in results.samples)
        ]
        if scenarios:
            written.append(folder / f"{plot.name}.svg")
            _write(plot, results, scenarios, written[-1])
    return written


def _write(plot: Plot, results: Results, scenarios: Sequence[str], path: Path) -> None:
    try:
        import matplotlib as mpl  # noqa: PLC0415  # an extra of the harness alone
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingTool("plots need matplotlib: pip install matplotlib") from error
    with mpl.rc_context({"svg.hashsalt": plot.name, "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        _draw(figure.subplots(), plot, results, scenarios)
        figure.savefig(path, format="svg", metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _draw(axes: "Axes", plot: Plot, results: Results, scenarios: Sequence[str]) -> None:
    width = GROUP / len(results.servers)
    for index, server in enumerate(results.servers):
        places, heights, down, up = [], [], [], []
        for group, scenario in enumerate(scenarios):
            values = [
                plot.of(sample)
                for sample in results.samples
                if (sample.scenario, sample.server) == (scenario, server)
            ]
            if not values:
                continue
            places.append(group + (index + 0.5) * width - GROUP / 2)
            heights.append(median(values))
            down.append(heights[-1] - min(values))
            up.append(max(values) - heights[-1])
        if places:
            axes.bar(places, heights, width, yerr=[down, up], label=server, error_kw={"lw": 0.6})
    axes.set_yscale("log")
    axes.set_xticks(range(len(scenarios)), scenarios, rotation=20)
    axes.set_ylabel(plot.label)
    axes.grid(visible=True, axis="y", which="major", alpha=0.3)
    axes.legend(ncols=len(results.servers), loc="upper center", bbox_to_anchor=(0.5, 1.15))
