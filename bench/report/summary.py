"""Medians over the rounds: one row per scenario and server, and how the first server of the run
compares.

Ratios are taken round by round and then their median: both sides of a ratio were measured close to
each other in time.
"""

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from bench.report.results import Recovery, Results, Sample


class Ratios(msgspec.Struct, frozen=True, kw_only=True):
    """How much better the first server is than this one: above 1 is better in all three."""

    rate: float
    p50: float
    cpu: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the rounds of one scenario on one server."""

    scenario: str
    server: str
    rounds: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float
    cpu_us_low: float
    cpu_us_high: float
    cpu_us_by_role: dict[str, float]
    client_cpu_us: float
    switches: float
    pss_bytes: float
    pss_growth_bytes: float
    errors: int
    foreign_share: float
    library_cpu_us: float | None
    recoveries: tuple[Recovery, ...]
    mean_batch: float | None
    ratios: Ratios | None


def rows(results: Results) -> list[Row]:
    """Summarise the samples, in the order of the run."""
    summary = []
    for scenario in results.scenarios:
        first = _samples(results, scenario, results.servers[0])
        for server in results.servers:
            own = _samples(results, scenario, server)
            if own:
                compared = first if server != results.servers[0] else []
                costs = [
                    cost.cpu_us
                    for cost in results.library_costs
                    if (cost.scenario, cost.server) == (scenario, server)
                ]
                summary.append(_row(own, compared, library_cpu_us=median(costs) if costs else None))
    return summary


def _row(own: Sequence[Sample], first: Sequence[Sample], *, library_cpu_us: float | None) -> Row:
    def middle(of: Callable[[Sample], float]) -> float:
        return median(of(sample) for sample in own)

    batches = [sample.mean_batch for sample in own if sample.mean_batch is not None]
    roles = sorted({role for sample in own for role in sample.usage.cpu_ns_by_role})
    by_role = {role: middle(lambda sample, role=role: _role_cpu_us(sample, role)) for role in roles}  # type: ignore[misc]
    return Row(
        scenario=own[0].scenario,
        server=own[0].server,
        rounds=len(own),
        requests_per_second=middle(lambda sample: sample.load.requests_per_second),
        p50_us=middle(lambda sample: sample.load.p50_us),
        p99_us=middle(lambda sample: sample.load.p99_us),
        cpu_us=middle(lambda sample: sample.cpu_us),
        cpu_us_low=min(sample.cpu_us for sample in own),
        cpu_us_high=max(sample.cpu_us for sample in own),
        cpu_us_by_role=by_role,
        client_cpu_us=middle(lambda sample: sample.load.client_cpu_ns / sample.load.requests / 1e3),
        switches=middle(lambda sample: sample.switches),
        pss_bytes=middle(lambda sample: sample.usage.pss_bytes),
        pss_growth_bytes=middle(
            lambda sample: sample.usage.pss_bytes - sample.usage.pss_bytes_before
        ),
        errors=sum(sample.load.errors for sample in own),
        foreign_share=max(sample.foreign_share for sample in own),
        library_cpu_us=library_cpu_us,
        recoveries=tuple(one.recovery for one in own if one.recovery is not None),
        mean_batch=median(batches) if batches else None,
        ratios=_ratios(own, first),
    )


def _ratios(own: Sequence[Sample], first: Sequence[Sample]) -> Ratios | None:
    by_round = {sample.round_index: sample for sample in first}
    pairs = [
        (by_round[sample.round_index], sample) for sample in own if sample.round_index in by_round
    ]
    if not pairs:
        return None
    return Ratios(
        rate=median(
            one.load.requests_per_second / other.load.requests_per_second for one, other in pairs
        ),
        p50=median(other.load.p50_us / one.load.p50_us for one, other in pairs),
        cpu=median(other.cpu_us / one.cpu_us for one, other in pairs),
    )


def _samples(results: Results, scenario: str, server: str) -> list[Sample]:
    return [
        sample
        for sample in results.samples
        if (sample.scenario, sample.server) == (scenario, server)
    ]


def _role_cpu_us(sample: Sample, role: str) -> float:
    return sample.usage.cpu_ns_by_role.get(role, 0) / sample.load.requests / 1e3
