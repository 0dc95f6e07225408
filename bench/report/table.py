"""The results as one Markdown table for people, with what a reader has to know below it."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.report.results import Results
from bench.report.summary import Row, rows
from bench.scenarios import SCENARIOS, Measure

NOISY_SHARE: Final = 0.05  # of the machine, used by others: figures may be off by as much and more
NONE: Final = "-"
COLUMNS: Final = (
    *("scenario", "server", "requests/s", "p50", "p99"),
    *("CPU/request", "by process", "client CPU", "switches", "memory"),
)
LEFT_COLUMNS: Final = 2
UNITS_US: Final = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))


def markdown(results: Results) -> str:
    """Write the table, padded so that it reads well unrendered too, and its notes."""
    first, *others = results.servers
    summary = rows(results)
    head = [*COLUMNS, *((f"{first}: rate x", "p50 x", "CPU x") if others else ())]
    body = [_cells(row)[: len(head)] for row in summary]
    for above, below, cells in zip(summary, summary[1:], body[1:], strict=False):
        if above.scenario == below.scenario:
            cells[0] = ""
    lines = padded([head, *body], left_columns=LEFT_COLUMNS)
    return "\n".join([*lines, "", *_notes(results, summary)])


def duration(us: float) -> str:
    """Write microseconds for people: three digits, in s, ms or µs."""
    scale, unit = next((row for row in UNITS_US if abs(us) >= row[0]), UNITS_US[-1])
    return f"{three_digits(us / scale)} {unit}"


def three_digits(value: float) -> str:
    """Write a figure with three digits that count, or all before the point."""
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{decimals}f}"


def _cells(row: Row) -> list[str]:
    by_role = (f"{role} {duration(us)}" for role, us in row.cpu_us_by_role.items() if us >= 0.005)
    return [
        row.scenario,
        _server(row),
        three_digits(row.requests_per_second),
        duration(row.p50_us),
        duration(row.p99_us),
        _cpu(row),
        " + ".join(by_role) or NONE,
        duration(row.client_cpu_us),
        three_digits(row.switches),
        _memory(row),
        *_ratios(row),
    ]


def _server(row: Row) -> str:
    noisy = " *" if row.foreign_share >= NOISY_SHARE else ""
    errors = f" ({row.errors} errors)" if row.errors else ""
    return f"{row.server}{errors}{noisy}"


def _cpu(row: Row) -> str:
    if row.rounds == 1:
        return duration(row.cpu_us)
    return f"{duration(row.cpu_us)} [{duration(row.cpu_us_low)} to {duration(row.cpu_us_high)}]"


def _memory(row: Row) -> str:
    if SCENARIOS[row.scenario].measure in {Measure.LOAD, Measure.UNLOAD}:
        return f"{row.pss_growth_bytes / (1 << 20):+.1f} MiB"
    return f"{row.pss_bytes / (1 << 20):.1f} MiB"


def _ratios(row: Row) -> list[str]:
    if row.ratios is None:
        return [NONE] * 3
    return [three_digits(ratio) for ratio in (row.ratios.rate, row.ratios.p50, row.ratios.cpu)]


def padded(lines: Sequence[Sequence[str]], *, left_columns: int) -> Iterator[str]:
    """Lay the cells out; all but the first columns, which are words, stand on the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for index, cells in enumerate(lines):
        aligned = (
            cell.ljust(width) if column < left_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        yield f"| {' | '.join(aligned)} |"
        if index == 0:
            yield f"| {' | '.join(_rules(widths, left_columns=left_columns))} |"


def _rules(widths: Sequence[int], *, left_columns: int) -> Iterator[str]:
    for column, width in enumerate(widths):
        yield "-" * width if column < left_columns else "-" * (width - 1) + ":"


def _notes(results: Results, summary: Sequence[Row]) -> Iterator[str]:
    yield _conditions(results)
    if not results.is_complete:
        yield "**Interrupted: not all rounds were measured.**"
    yield ""
    yield (
        "- CPU/request: user and system time of the server's whole process tree, the client's "
        "apart; [lowest to highest round]."
    )
    yield "- switches: context switches of the tree per request. memory: PSS of the tree."
    if len(results.servers) > 1:
        yield (
            f"- Last columns: how many times more requests/s, lower p50 and less CPU "
            f"{results.servers[0]} has than this row, in the same round; above 1 is better."
        )
    yield from _scenario_notes(summary)
    for server in results.servers:
        yield f"- {server}: {results.versions.get(server, 'not measured')}"
    for remark in results.remarks:
        yield f"- {remark.server} {remark.text}."
    for failure in results.failures:
        reason = failure.reason.splitlines()[0]
        yield f"- **{failure.scenario} on {failure.server} failed**: {reason}"


def _conditions(results: Results) -> str:
    machine = results.machine
    virtual = " (virtual)" if machine.is_virtual else ""
    return (
        f"Medians of {results.rounds} alternating rounds of {results.seconds} s after "
        f"{results.warmup_seconds} s of warm-up, each on a freshly started server. "
        f"{machine.measured_at}, {machine.cpu_model}, {machine.cores} cores{virtual}, "
        f"{machine.memory_bytes / (1 << 30):.0f} GiB, Linux {machine.kernel}, "
        f"Python {machine.python}, load at the start {machine.load_average_1m:.1f}."
        f"{f' Bytecode: {results.bytecode}.' if results.bytecode else ''}"
    )


def _scenario_notes(summary: Sequence[Row]) -> Iterator[str]:
    measures = {SCENARIOS[row.scenario].measure for row in summary}
    if measures & {Measure.LOAD, Measure.UNLOAD, Measure.START}:
        yield (
            "- load_ready, unload, cold_start, start_100: a request is one load, unload or start, "
            "p50 its time; memory of a load or unload is what the tree grew by."
        )
    worst = max((row.foreign_share for row in summary), default=0.0)
    if worst >= NOISY_SHARE:
        yield (
            f"- \\* others used {NOISY_SHARE:.0%} of the machine or more in a round of this row "
            f"(at most {worst:.0%}): take its figures as a hint."
        )
    yield from _library_notes(summary)
    yield from _recovery_notes(summary)
    for row in summary:
        if row.mean_batch is not None:
            yield f"- {row.scenario} on {row.server}: {row.mean_batch:.1f} rows an execution."


def _recovery_notes(summary: Sequence[Row]) -> Iterator[str]:
    for row in summary:
        for seen in row.recoveries:
            back = "not seen" if seen.back_after_ms is None else f"{seen.back_after_ms:.0f} ms"
            yield (
                f"- {row.scenario} on {row.server}: {seen.failed} requests failed, the longest "
                f"wait for an answer was {seen.longest_wait_ms:.0f} ms; good answers again after "
                f"the kill: {back}."
            )


def _library_notes(summary: Sequence[Row]) -> Iterator[str]:
    first: Row | None = None
    for row in summary:
        own_us = _own_cpu_us(row)
        if own_us is None:
            continue
        if first is None or first.scenario != row.scenario:
            first = row
        first_us = _own_cpu_us(first)
        compared = f" {first.server}'s is {first_us / own_us:.2f} of that." if first_us else ""
        yield (
            f"- {row.scenario} on {row.server}: {duration(row.library_cpu_us or 0)} of the CPU is "
            f"the library's own predict, {duration(own_us)} the server's."
            f"{compared if row is not first else ''}"
        )


def _own_cpu_us(row: Row) -> float | None:
    """What the server itself costs: all less the library's; None where that is not known."""
    return None if row.library_cpu_us is None else row.cpu_us - row.library_cpu_us
