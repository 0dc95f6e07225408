"""What must hold, as data: one row for each figure that mpserve has to reach beside a peer.

A row reads one figure of one scenario on the first server of a run and, unless the bar is a plain
number, the same figure of a rival. Quotients are taken round by round, and their median counts.
"""

import enum
from collections.abc import Callable
from statistics import median
from typing import Final

import msgspec

from bench.report.results import Results, Sample
from bench.scenarios import Server

# What is read of a sample; None where the run does not know it.
Reading = Callable[[Results, Sample], float | None]
MIB: Final = 1 << 20


class Form(enum.Enum):
    """How the first server's figure is held against the bar."""

    LESS = "x less"  # the rival's by ours, at least
    MORE = "x more"  # ours by the rival's, at least
    SHARE = "of it"  # ours by the rival's, at most
    PLAIN = ""  # ours, at most


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One row. With several rivals the one that is best at the figure counts."""

    case: str
    scenario: str
    figure: str
    of: Reading
    form: Form
    limit: float
    rivals: tuple[Server, ...] = ()
    beside: str = ""  # the rival's figure is that of this scenario; the same one when empty
    settings: tuple[str, ...] = ()  # scenarios of the same with other settings: each side's best


def _cpu_us(_results: Results, sample: Sample) -> float:
    return sample.cpu_us


def _rate(_results: Results, sample: Sample) -> float:
    return sample.load.requests_per_second


def _p50_us(_results: Results, sample: Sample) -> float:
    return sample.load.p50_us


def _p50_s(_results: Results, sample: Sample) -> float:
    return sample.load.p50_us / 1e6


def _p99_us(_results: Results, sample: Sample) -> float:
    return sample.load.p99_us


def _errors(_results: Results, sample: Sample) -> float:
    return float(sample.load.errors)


def _grown_mib(_results: Results, sample: Sample) -> float:
    return (sample.usage.pss_bytes - sample.usage.pss_bytes_before) / MIB


def _own_cpu_us(results: Results, sample: Sample) -> float | None:
    """All CPU less what the model's library takes without a server."""
    costs = [
        cost.cpu_us
        for cost in results.library_costs
        if (cost.scenario, cost.server) == (sample.scenario, sample.server)
    ]
    return sample.cpu_us - median(costs) if costs else None


def _longest_wait_ms(_results: Results, sample: Sample) -> float | None:
    return None if sample.recovery is None else sample.recovery.longest_wait_ms


def _back_after_ms(_results: Results, sample: Sample) -> float | None:
    if sample.recovery is None:
        return None
    back_after_ms = sample.recovery.back_after_ms
    return float("inf") if back_after_ms is None else back_after_ms


_TRITON: Final[tuple[Server, ...]] = ("triton",)
_MLSERVER: Final[tuple[Server, ...]] = ("mlserver-0", "mlserver-1")
_CEILING: Final[tuple[Server, ...]] = ("loopback",)


def _less_cpu(case: str, scenario: str, limit: float, rivals: tuple[Server, ...]) -> Bar:
    return Bar(
        case=case,
        scenario=scenario,
        figure="CPU/request",
        of=_cpu_us,
        form=Form.LESS,
        limit=limit,
        rivals=rivals,
    )


def _more_rate(case: str, scenario: str, limit: float, rivals: tuple[Server, ...]) -> Bar:
    return Bar(
        case=case,
        scenario=scenario,
        figure="requests/s",
        of=_rate,
        form=Form.MORE,
        limit=limit,
        rivals=rivals,
    )


def _share(  # a row of a table
    case: str, scenario: str, figure: str, of: Reading, limit: float, rivals: tuple[Server, ...]
) -> Bar:
    return Bar(
        case=case,
        scenario=scenario,
        figure=figure,
        of=of,
        form=Form.SHARE,
        limit=limit,
        rivals=rivals,
    )


def _plain(case: str, scenario: str, figure: str, of: Reading, limit: float) -> Bar:
    return Bar(case=case, scenario=scenario, figure=figure, of=of, form=Form.PLAIN, limit=limit)


def _json(connections: int) -> tuple[Bar, ...]:
    case, scenario = f"JSON, {connections} connections", f"json16_c{connections}"
    return (
        _less_cpu(case, scenario, 10, _TRITON),
        _more_rate(case, scenario, 6, _TRITON),
        _less_cpu(case, scenario, 30, _MLSERVER),
    )


def _beside(scenario: str, bar: Bar) -> Bar:
    """Hold a bar against another scenario of the same server."""
    return msgspec.structs.replace(bar, beside=scenario)


def _digits(connections: int, *settings: str) -> tuple[Bar, ...]:
    case, scenario = f"digits, {connections} connections", f"digits_c{connections}"
    bars = (
        _less_cpu(case, scenario, 1, _TRITON),
        _less_cpu(case, scenario, 10, _MLSERVER),
    )
    return tuple(msgspec.structs.replace(bar, settings=settings) for bar in bars)


def _large(size: str, scenario: str) -> tuple[Bar, ...]:
    case = f"{size} in and out"
    return (
        _more_rate(case, scenario, 1.5, _TRITON),
        _more_rate(case, scenario, 0.7, _CEILING),
        _more_rate(case, scenario, 10, _MLSERVER),
    )


BARS: Final[tuple[Bar, ...]] = (
    *_json(16),
    *_json(64),
    _less_cpu("binary, 16 connections", "binary16_c16", 10, _TRITON),
    _share("JSON, 1 connection", "json16_c1", "p50", _p50_us, 0.5, _TRITON),
    _less_cpu("JSON, 1 connection", "json16_c1", 3.5, _TRITON),
    _share("JSON, 1 connection", "json16_c1", "p50", _p50_us, 0.2, _MLSERVER),
    _less_cpu("gRPC, 16 connections", "grpc16_c16", 4, _TRITON),
    _more_rate("gRPC, 16 connections", "grpc16_c16", 3, _TRITON),
    _less_cpu("gRPC, 16 connections", "grpc16_c16", 15, _MLSERVER),
    *_digits(1),
    *_digits(16, "digits_batched_c16"),
    *_digits(64, "digits_batched_c64"),
    msgspec.structs.replace(
        _share(
            "digits, 64 connections",
            "digits_c64",
            "CPU without predict",
            _own_cpu_us,
            0.25,
            _TRITON,
        ),
        settings=("digits_batched_c64",),
    ),
    *_large("1 MiB", "binary1m_c1"),
    *_large("16 MiB", "binary16m_c1"),
    _beside("sleep_c32", _more_rate("batches, 2 ms of work", "sleep_batched_c32", 10, ())),
    _beside(
        "lone_unbatched",
        _share("batching, a lone request", "lone_no_delay", "p50", _p50_us, 1.03, ()),
    ),
    _beside("spin_1", _more_rate("two instances, pure Python", "spin_2", 1.8, ())),
    _beside("open_1000", _share("during reloads", "reload_1000", "p99", _p99_us, 1.5, ())),
    _plain("during reloads", "reload_1000", "failed", _errors, 0),
    _share("load to READY", "load_ready", "time", _p50_us, 0.04, _TRITON),
    _share("load to READY", "load_ready", "time", _p50_us, 0.5, _MLSERVER),
    _share("100 models at start", "start_100", "time", _p50_us, 0.1, _TRITON),
    _plain("cold start", "cold_start", "s", _p50_s, 0.4),
    _share("cold start", "cold_start", "time", _p50_us, 0.2, _MLSERVER),
    _share("trivial model, idle", "load_ready", "memory", _grown_mib, 0.35, _TRITON),
    _plain("kill -9 of the model", "kill_worker", "longest wait, ms", _longest_wait_ms, 1000),
    _plain("kill -9 of the model", "kill_worker", "good again, ms", _back_after_ms, 2000),
)

# What a run has to measure for all of them; the servers are those whose figures are read.
SCENARIOS_OF_BARS: Final = tuple(
    dict.fromkeys(
        name for bar in BARS for name in (bar.beside, bar.scenario, *bar.settings) if name
    )
)
SERVERS_OF_BARS: Final[tuple[str, ...]] = (
    "mpserve",
    *dict.fromkeys(rival for bar in BARS for rival in bar.rivals),
)
_ALWAYS: Final = {"mpserve", "triton"}  # the two that every row of the table shows
_NEEDED: Final = {
    (name, rival) for bar in BARS for name in (bar.scenario, *bar.settings) for rival in bar.rivals
}


def is_needed(scenario: str, server: str) -> bool:
    """Whether a run for the bars measures `scenario` on `server`."""
    return server in _ALWAYS or (scenario, server) in _NEEDED
