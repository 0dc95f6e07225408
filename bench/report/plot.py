"""Growth as SVG: one file for each sweep, both axes logarithmic, bars from lowest to highest."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import MissingTool
from bench.growth import Curve, Growth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN = 4.2  # of one curve's plot
HEIGHT_IN = 3.0


def write_svg(growth: Growth, path: Path) -> None:
    """Draw one plot for each curve, side by side.

    Raises
    ------
    MissingTool
        matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415  # an extra of the harness alone
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingTool("plots need matplotlib: pip install matplotlib") from error
    count = len(growth.curves)
    with mpl.rc_context({"svg.hashsalt": growth.sweep, "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(WIDTH_IN * count, HEIGHT_IN), layout="constrained")
        for axes, curve in zip(
            figure.subplots(1, count, squeeze=False)[0], growth.curves, strict=True
        ):
            _draw(axes, curve, axis=growth.axis)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _draw(axes: "Axes", curve: Curve, *, axis: str) -> None:
    down = [middle - low for middle, low in zip(curve.medians, curve.lows, strict=True)]
    up = [high - middle for middle, high in zip(curve.medians, curve.highs, strict=True)]
    axes.errorbar(curve.points, curve.medians, yerr=[down, up], marker="o", capsize=2, lw=1.2)
    axes.set_xscale("log", base=2 if max(curve.points) <= 64 else 10)
    axes.set_yscale("log")
    axes.set_ylim(bottom=min(curve.lows) / 3, top=max(curve.highs) * 3)
    axes.set_xlabel(axis)
    axes.set_ylabel(curve.label)
    axes.set_title(f"slope {curve.slope:.2f}")
    axes.grid(visible=True, which="major", alpha=0.3)
