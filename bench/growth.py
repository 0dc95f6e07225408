"""Cost against size: every point of a sweep is measured, and a slope told for each figure.

The slope is that of a straight line through the logarithms, by least squares: 0 is flat, 1 is
proportional. Rounds alternate over the points, so that a drift of the machine hits all alike.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from statistics import median
from typing import Final

import msgspec
import numpy as np

from bench.errors import BenchError
from bench.measuring.machine import MachineFacts
from bench.measuring.measurement import Pace, measure
from bench.report.results import Sample
from bench.report.table import three_digits
from bench.sweeps import Sweep

SLACK: Final = 0.1
END_SLACK: Final = 0.25  # three points: one unlucky round moves their slope more
END_POINTS: Final = 3
LEAST_POINTS: Final = 2  # of a line
MOST_EXCESS: Final = 1.5  # slopes of many points hide a step; what is flat here differs by 1.4


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over the points of a sweep: medians, lowest and highest round."""

    label: str
    points: tuple[int, ...]
    medians: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    slope: float
    end_slope: float  # of the last points alone, which fixed costs at the small end do not flatten
    slope_limit: float

    @property
    def holds(self) -> bool | None:
        """Whether it grows no faster than it may, as far as the noise of a run can tell; None where
        fewer than two points were measured.
        """
        if len(self.points) < LEAST_POINTS:
            return None
        return (
            self.slope <= self.slope_limit + SLACK
            and self.end_slope <= self.slope_limit + END_SLACK
            and self.excess <= MOST_EXCESS
        )

    @property
    def excess(self) -> float:
        """How many times more a point costs than it may, by what any smaller one costs."""
        allowed = [
            value / point**self.slope_limit
            for point, value in zip(self.points, self.medians, strict=True)
        ]
        lowest = accumulate(allowed, min)
        return max((one / least for one, least in zip(allowed, lowest, strict=True)), default=1.0)


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What one sweep showed."""

    sweep: str
    axis: str
    machine: MachineFacts
    version: str
    bytecode: str  # what was compiled before it
    rounds: int
    seconds: int
    curves: tuple[Curve, ...]
    failures: dict[int, str]  # point: why it could not be measured, in a round or in all


def measure_sweep(  # facts of the run, and how it goes
    sweep: Sweep,
    *,
    machine: MachineFacts,
    bytecode: str,
    rounds: int,
    pace: Pace,
    tell: Callable[[str], None],
) -> Growth:
    """Measure all points of `sweep`; one that fails is told, and tried again in the next round."""
    samples: dict[int, list[Sample]] = {}
    failures: dict[int, str] = {}
    for round_index in range(rounds):
        for point in sweep.points:
            subject = sweep.at(point)
            try:
                measured = measure(
                    subject.scenario, subject.peer, round_index=round_index, pace=pace
                )
            except BenchError as error:
                failures[point] = str(error).splitlines()[0]
                tell(f"{sweep.name} {point}: failed: {failures[point]}")
                continue
            samples.setdefault(point, []).append(measured.sample)
            shown = (
                f"{figure.label} {three_digits(figure.of(measured.sample))}"
                for figure in sweep.figures
            )
            tell(f"{sweep.name} {point}: {', '.join(shown)}")
    return Growth(
        sweep=sweep.name,
        axis=sweep.axis,
        machine=machine,
        version=sweep.at(sweep.points[0]).peer.version(),
        bytecode=bytecode,
        rounds=rounds,
        seconds=pace.seconds,
        curves=tuple(curves(sweep, samples)),
        failures=failures,
    )


def curves(sweep: Sweep, samples: dict[int, list[Sample]]) -> Iterable[Curve]:
    """Summarise the samples of each point, one curve for each figure."""
    points = tuple(point for point in sweep.points if point in samples)
    for figure in sweep.figures:
        values = [[figure.of(sample) for sample in samples[point]] for point in points]
        medians = tuple(median(one) for one in values)
        yield Curve(
            label=figure.label,
            points=points,
            medians=medians,
            lows=tuple(min(one) for one in values),
            highs=tuple(max(one) for one in values),
            slope=slope(points, medians),
            end_slope=slope(points[-END_POINTS:], medians[-END_POINTS:]),
            slope_limit=figure.slope,
        )


def slope(points: Sequence[int], values: Sequence[float]) -> float:
    """Slope of the logarithms, by least squares; 0 where there are fewer than two points."""
    pairs = [
        (math.log(point), math.log(value))
        for point, value in zip(points, values, strict=True)
        if point > 0 and value > 0
    ]
    if len(pairs) < LEAST_POINTS:
        return 0.0
    sizes, costs = np.array(pairs).T
    return float(np.polyfit(sizes, costs, 1)[0])
