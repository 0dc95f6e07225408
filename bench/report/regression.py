"""Two results of the same scenarios, compared: what became worse, beyond what the rounds vary.

A figure counts as worse when its median moved by more than the tolerance *and* the rounds of the
two results do not overlap: the worst round before is still better than the best one after. So one
unlucky round is no alarm, and neither is a drift within the noise.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final

import msgspec

from bench.errors import UsageError
from bench.report.results import Results, Sample

Figure = Callable[[Sample], float]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one row, before and after; `factor` above 1 is worse."""

    scenario: str
    server: str
    figure: str
    before: float
    after: float
    factor: float
    is_beyond_noise: bool


# Lower is better in all of them.
FIGURES: Final[dict[str, Figure]] = {
    "CPU µs/request": lambda sample: sample.cpu_us,
    "p50 µs": lambda sample: sample.load.p50_us,
    "p99 µs": lambda sample: sample.load.p99_us,
    "µs/request": lambda sample: 1e6 / sample.load.requests_per_second,
    "errors": lambda sample: float(sample.load.errors),
}


def changes(before: Results, after: Results) -> list[Change]:
    """Compare what both have measured, in the order of `after`.

    Raises
    ------
    UsageError
        They have no scenario on one server in common.
    """
    found = [
        _change(name, figure, old, new)
        for old, new in _pairs(before, after)
        for name, figure in FIGURES.items()
    ]
    if not found:
        raise UsageError("the two results have no scenario of one server in common")
    return found


def regressions(found: Sequence[Change], *, tolerance: float) -> list[Change]:
    """Pick what is worse by more than `tolerance` (0.1: 10 %) and beyond the noise."""
    return [one for one in found if one.factor > 1 + tolerance and one.is_beyond_noise]


def _pairs(before: Results, after: Results) -> Iterator[tuple[list[Sample], list[Sample]]]:
    for scenario in after.scenarios:
        for server in after.servers:
            old, new = (_of(results, scenario, server) for results in (before, after))
            if old and new:
                yield old, new


def _of(results: Results, scenario: str, server: str) -> list[Sample]:
    return [
        sample
        for sample in results.samples
        if (sample.scenario, sample.server) == (scenario, server)
    ]


def _change(name: str, figure: Figure, old: Sequence[Sample], new: Sequence[Sample]) -> Change:
    before, after = ([figure(sample) for sample in samples] for samples in (old, new))
    middle_before, middle_after = median(before), median(after)
    if middle_before:
        factor = middle_after / middle_before
    else:
        factor = float("inf") if middle_after else 1.0
    return Change(
        scenario=new[0].scenario,
        server=new[0].server,
        figure=name,
        before=middle_before,
        after=middle_after,
        factor=factor,
        is_beyond_noise=min(after) > max(before),
    )
