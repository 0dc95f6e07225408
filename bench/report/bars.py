"""The results held against the bars: a Markdown table of what must hold and whether it does."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

import msgspec

from bench.bars import BARS, Bar, Form
from bench.report.results import Results, Sample
from bench.report.table import NOISY_SHARE, padded, three_digits

COLUMNS = ("case", "scenario", "figure", "beside", "bar", "measured", "rounds", "holds")
LEFT_COLUMNS = 4
NOT_MEASURED = "not measured"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One bar and what was measured; no values where a side of it is not there."""

    bar: Bar
    rival: str = ""
    values: tuple[float, ...] = ()  # one for each round that has both sides
    is_noisy: bool = False

    @property
    def value(self) -> float | None:
        """The median of the rounds."""
        return median(self.values) if self.values else None

    @property
    def holds(self) -> bool | None:
        """Whether the bar is met; None where it was not measured."""
        value = self.value
        if value is None:
            return None
        if self.bar.form in {Form.LESS, Form.MORE}:
            return value >= self.bar.limit
        return value <= self.bar.limit


def verdicts(results: Results, bars: Sequence[Bar] = BARS) -> list[Verdict]:
    """Hold the first server of `results` against each bar."""
    return [_verdict(results, bar) for bar in bars]


def bars_table(found: Sequence[Verdict]) -> str:
    """Write the table, and how many hold."""
    lines = [list(COLUMNS), *(_cells(one) for one in found)]
    measured = [one for one in found if one.holds is not None]
    held = sum(one.holds is True for one in measured)
    return "\n".join(
        [
            *padded(lines, left_columns=LEFT_COLUMNS),
            "",
            f"{held} of {len(measured)} bars hold, {len(found) - len(measured)} were not measured.",
            *_notes(found),
        ]
    )


def _verdict(results: Results, bar: Bar) -> Verdict:
    ours = _by_round(results, bar.scenario, results.servers[0])
    if bar.form is Form.PLAIN:
        values = [bar.of(results, sample) for sample in ours.values()]
        known = tuple(value for value in values if value is not None)
        return Verdict(bar=bar, values=known, is_noisy=_is_noisy(ours.values()))
    rivals = bar.rivals or (results.servers[0],)
    against = [_against(results, bar, ours, rival) for rival in rivals]
    measured = [one for one in against if one.values]
    if not measured:
        return Verdict(bar=bar, rival=" or ".join(rivals))
    # The rival that is hardest to beat.
    return (max if bar.form is Form.SHARE else min)(measured, key=lambda one: one.value or 0.0)


def _against(results: Results, bar: Bar, ours: dict[int, Sample], rival: str) -> Verdict:
    theirs = _by_round(results, bar.beside or bar.scenario, rival)
    values = []
    for index in sorted(ours.keys() & theirs.keys()):
        mine, other = bar.of(results, ours[index]), bar.of(results, theirs[index])
        if mine is None or other is None:
            continue
        above, below = (other, mine) if bar.form is Form.LESS else (mine, other)
        values.append(above / below if below > 0 else float("inf"))
    return Verdict(
        bar=bar,
        rival=bar.beside or rival,
        values=tuple(values),
        is_noisy=_is_noisy([*ours.values(), *theirs.values()]),
    )


def _by_round(results: Results, scenario: str, server: str) -> dict[int, Sample]:
    return {
        sample.round_index: sample
        for sample in results.samples
        if (sample.scenario, sample.server) == (scenario, server)
    }


def _is_noisy(samples: Iterable[Sample]) -> bool:
    return any(sample.foreign_share >= NOISY_SHARE for sample in samples)


def _cells(one: Verdict) -> list[str]:
    bar = one.bar
    sign = "≥" if bar.form in {Form.LESS, Form.MORE} else "≤"
    return [
        bar.case,
        bar.scenario,
        bar.figure,
        one.rival or "-",
        f"{sign} {bar.limit:g} {bar.form.value}".strip(),
        NOT_MEASURED if one.value is None else three_digits(one.value),
        _range(one.values),
        {True: "yes", False: "**no**", None: "?"}[one.holds] + (" *" if one.is_noisy else ""),
    ]


def _range(values: Sequence[float]) -> str:
    return f"{three_digits(min(values))} to {three_digits(max(values))}" if values else "-"


def _notes(found: Sequence[Verdict]) -> Iterator[str]:
    if any(one.is_noisy for one in found):
        yield (
            f"\\* others used {NOISY_SHARE:.0%} of the machine or more in a round of this row: "
            "take its figures as a hint."
        )
