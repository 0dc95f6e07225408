"""The results held against the bars: a Markdown table of what must hold and whether it does."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

import msgspec

from bench.bars import BARS, Bar, Form
from bench.report.results import Results, Sample
from bench.report.table import NOISY_SHARE, padded, three_digits

COLUMNS = (
    "case",
    "scenario",
    "figure",
    "beside",
    "bar",
    "measured",
    "rounds",
    "holds",
    "beside the others",
)
LEFT_COLUMNS = 4
NOT_MEASURED = "not measured"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One bar and what was measured; no values where a side of it is not there."""

    bar: Bar
    rival: str = ""
    values: tuple[float, ...] = ()  # one for each round that has both sides
    is_noisy: bool = False
    others: tuple["Verdict", ...] = ()  # the same bar beside the rivals that are easier to beat

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


class _Side(msgspec.Struct, frozen=True, kw_only=True):
    """One server's figure, by round."""

    figures: dict[int, float]
    is_noisy: bool


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
    ours = _side(results, bar, bar.scenario, results.servers[0])
    if bar.form is Form.PLAIN:
        return Verdict(bar=bar, values=tuple(ours.figures.values()), is_noisy=ours.is_noisy)
    rivals = bar.rivals or (results.servers[0],)
    against = [_against(results, bar, ours, rival) for rival in rivals]
    measured = [one for one in against if one.values]
    if not measured:
        return Verdict(bar=bar, rival=" or ".join(rivals))
    hardest_first = sorted(
        measured, key=lambda one: one.value or 0.0, reverse=bar.form is Form.SHARE
    )
    return msgspec.structs.replace(hardest_first[0], others=tuple(hardest_first[1:]))


def _against(results: Results, bar: Bar, ours: _Side, rival: str) -> Verdict:
    theirs = _side(results, bar, bar.beside or bar.scenario, rival)
    values = []
    for index in sorted(ours.figures.keys() & theirs.figures.keys()):
        mine, other = ours.figures[index], theirs.figures[index]
        above, below = (other, mine) if bar.form is Form.LESS else (mine, other)
        values.append(above / below if below > 0 else float("inf"))
    return Verdict(
        bar=bar,
        rival=bar.beside or rival,
        values=tuple(values),
        is_noisy=ours.is_noisy or theirs.is_noisy,
    )


def _side(results: Results, bar: Bar, scenario: str, server: str) -> _Side:
    """Read one server's figure of each round that has all settings; the best of them counts."""
    best = max if bar.form is Form.MORE else min
    settings = [_by_round(results, name, server) for name in (scenario, *bar.settings)]
    figures = {}
    for index in sorted(set.intersection(*(set(one) for one in settings))):
        known = [bar.of(results, one[index]) for one in settings]
        if None not in known:
            figures[index] = best(figure for figure in known if figure is not None)
    samples = [sample for one in settings for sample in one.values()]
    return _Side(figures=figures, is_noisy=_is_noisy(samples))


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
    others = [f"{other.rival} {three_digits(other.value or 0.0)}" for other in one.others]
    return [
        bar.case,
        bar.scenario,
        bar.figure,
        one.rival or "-",
        f"{sign} {bar.limit:g} {bar.form.value}".strip(),
        NOT_MEASURED if one.value is None else three_digits(one.value),
        _range(one.values),
        {True: "yes", False: "**no**", None: "?"}[one.holds] + (" *" if one.is_noisy else ""),
        ", ".join(others) or "-",
    ]


def _range(values: Sequence[float]) -> str:
    return f"{three_digits(min(values))} to {three_digits(max(values))}" if values else "-"


def _notes(found: Sequence[Verdict]) -> Iterator[str]:
    if any(one.is_noisy for one in found):
        yield (
            f"\\* others used {NOISY_SHARE:.0%} of the machine or more in a round of this row: "
            "take its figures as a hint."
        )
