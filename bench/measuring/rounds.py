"""The order of a run: rounds that alternate the servers, A B C A B C …, so that a drift of the
machine hits all alike.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from bench.errors import BenchError
from bench.measuring.measurement import Measured, Pace, library_cost, measure
from bench.peers import PEERS
from bench.report.results import Failure, LibraryCost, Remark, Sample
from bench.report.table import NOISY_SHARE, duration, three_digits
from bench.scenarios import SCENARIOS


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked for."""

    servers: tuple[str, ...]
    scenarios: tuple[str, ...]
    rounds: int
    pace: Pace


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement to be made."""

    round_index: int
    scenario: str
    server: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured, in the order of the turns."""

    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]
    remarks: tuple[Remark, ...]
    library_costs: tuple[LibraryCost, ...]
    is_complete: bool


def turns(plan: Plan) -> Iterator[Turn]:
    """List the measurements: in each round all scenarios, in each scenario all servers that can.

    Rounds are the outermost loop, so that the rounds of one scenario lie far apart, and its servers
    close together.
    """
    for round_index in range(plan.rounds):
        for scenario in plan.scenarios:
            able = [one for one in plan.servers if one in SCENARIOS[scenario].encodings]
            for server in able:
                yield Turn(round_index=round_index, scenario=scenario, server=server)


def carry_out(wanted: Sequence[Turn], *, pace: Pace, tell: Callable[[str], None]) -> Run:
    """Make all measurements; one that fails is told and does not end the run.

    Parameters
    ----------
    wanted
        The turns, in order.
    pace
        How long each takes.
    tell
        Receives one line per turn, as it ends.

    Notes
    -----
    A server that failed at a scenario is not tried at it again. On KeyboardInterrupt what was
    measured so far is returned.
    """
    samples: list[Sample] = []
    failures: list[Failure] = []
    remarks: list[Remark] = []
    costs: list[LibraryCost] = []
    given_up: set[tuple[str, str]] = set()
    is_complete = False
    try:
        for number, turn in enumerate(wanted, start=1):
            what = f"[{number}/{len(wanted)}] {turn.scenario} {turn.server}"
            if (turn.scenario, turn.server) in given_up:
                continue
            try:
                measured = _take(turn, pace=pace, costs=costs)
            except Exception as error:  # noqa: BLE001  # border: one turn must not end the run
                given_up.add((turn.scenario, turn.server))
                failures.append(_failure(turn, error))
                tell(f"{what}: failed: {failures[-1].reason}")
                continue
            samples.append(measured.sample)
            remarks += [remark for remark in measured.remarks if remark not in remarks]
            tell(f"{what}: {_brief(measured.sample)}")
        is_complete = True
    except KeyboardInterrupt:
        tell("interrupted: what was measured so far follows")
    return Run(
        samples=tuple(samples),
        failures=tuple(failures),
        remarks=tuple(remarks),
        library_costs=tuple(costs),
        is_complete=is_complete,
    )


def _take(turn: Turn, *, pace: Pace, costs: list[LibraryCost]) -> Measured:
    scenario, peer = SCENARIOS[turn.scenario], PEERS[turn.server]
    measured = measure(scenario, peer, round_index=turn.round_index, pace=pace)
    cost = library_cost(scenario, peer)
    if cost is not None:
        costs.append(cost)
    return measured


def _failure(turn: Turn, error: Exception) -> Failure:
    reason = str(error) if isinstance(error, BenchError) else repr(error)
    return Failure(
        scenario=turn.scenario, server=turn.server, round_index=turn.round_index, reason=reason
    )


def _brief(sample: Sample) -> str:
    seen = sample.load
    parts = [
        f"{three_digits(seen.requests_per_second)}/s",
        f"p50 {duration(seen.p50_us)}",
        f"p99 {duration(seen.p99_us)}",
        f"CPU {duration(sample.cpu_us)}",
    ]
    if seen.errors:
        parts.append(f"{seen.errors} errors {seen.error_kinds}")
    if sample.foreign_share >= NOISY_SHARE:
        parts.append(f"others used {sample.foreign_share:.0%} of the machine")
    return ", ".join(parts)
