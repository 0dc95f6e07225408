"""What grows, as data: one row for each quantity, with its points and how its cost may grow.

A figure that belongs to the work asked for (bytes, rows) may grow in proportion to it; one that
belongs to things that lie idle (models, versions, connections) must stay flat, but for the memory
that they own.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from bench.loading.payload import Encoding, Floats, Tensors
from bench.peers.mpserve import Mpserve
from bench.report.results import Sample
from bench.scenarios import Measure, Scenario

LINEAR: Final = 1.0  # slope in log-log: twice the work, twice the cost
FLAT: Final = 0.0
MIB: Final = 1 << 20


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One curve: what is read of a sample, and the slope (log-log) that it may have at most."""

    label: str
    of: Callable[[Sample], float]
    slope: float


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One point: a scenario, and the server that it is measured on."""

    scenario: Scenario
    peer: Mpserve


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One plot."""

    name: str
    axis: str
    points: tuple[int, ...]
    at: Callable[[int], Subject]
    figures: tuple[Figure, ...]


def _cpu(slope: float) -> Figure:
    return Figure(label="CPU µs per request", of=lambda sample: sample.cpu_us, slope=slope)


def _p50(slope: float) -> Figure:
    return Figure(label="p50 µs", of=lambda sample: sample.load.p50_us, slope=slope)


def _memory(slope: float) -> Figure:
    return Figure(
        label="PSS of the server, MiB",
        of=lambda sample: sample.usage.pss_bytes / MIB,
        slope=slope,
    )


_RATE: Final = Figure(
    label="µs between two answers",
    of=lambda sample: 1e6 / sample.load.requests_per_second,
    slope=FLAT,
)


def _json(point: int, **others: object) -> Scenario:
    values: dict[str, object] = {
        "name": f"growth_{point}",
        "title": "",
        "measure": Measure.INFER,
        "encodings": {"mpserve": Encoding.JSON},
        "models": ("simple",),
        "tensors": Tensors.FLOATS_16,
        "connections": 16,
        **others,
    }
    return msgspec.convert(values, Scenario, strict=True)


def _subject(point: int, *, frontends: int = 1, **others: object) -> Subject:
    peer = Mpserve(frontends=frontends)
    peer.name = "mpserve"  # whatever its size: scenarios know it by this name
    return Subject(scenario=_json(point, **others), peer=peer)


SWEEPS: Final[dict[str, Sweep]] = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            name="connections",
            axis="connections that send all the time",
            points=(1, 4, 16, 64, 256, 1024, 4096, 10_000),
            # A load generator takes a second or more to open thousands.
            at=lambda point: _subject(
                point,
                connections=point,
                least_seconds=1 if point < 4096 else 4,
                least_warmup_seconds=0 if point < 4096 else 3,
            ),
            figures=(_cpu(FLAT), _memory(LINEAR)),
        ),
        Sweep(
            name="idle_connections",
            axis="silent connections beside 16 that send all the time",
            points=(1, 100, 1000, 10_000),
            at=lambda point: _subject(point, idle_connections=point),
            figures=(_cpu(FLAT), _memory(LINEAR)),
        ),
        Sweep(
            name="models",
            axis="models loaded, one of them asked",
            points=(1, 10, 100, 300, 1000),
            at=lambda point: _subject(point, copies=point),
            figures=(_cpu(FLAT), _memory(LINEAR)),
        ),
        Sweep(
            name="versions",
            axis="versions loaded, the last one asked",
            points=(1, 4, 16, 32),
            at=lambda point: _subject(point, versions=point),
            figures=(_cpu(FLAT), _memory(LINEAR)),
        ),
        Sweep(
            name="tensor",
            axis="bytes of a binary tensor, in and out",
            points=tuple(64 << shift for shift in range(0, 23, 2)),  # 64 B to 256 MiB
            at=lambda point: _subject(
                point,
                encodings={"mpserve": Encoding.BINARY},
                models=("identity",),
                tensors=Floats(elements=point // 4, model="identity"),
                connections=1,
                least_seconds=1 if point < 1 << 24 else 4,
                least_warmup_seconds=0 if point < 1 << 24 else 3,
            ),
            figures=(_cpu(LINEAR), _p50(LINEAR)),
        ),
        Sweep(
            name="rows",
            axis="rows of 16 floats in one JSON request",
            points=(1, 4, 16, 64),
            at=lambda point: _subject(point, tensors=Floats(elements=16, rows=point)),
            figures=(_cpu(LINEAR), _p50(LINEAR)),
        ),
        Sweep(
            name="instances",
            axis="instances of the model",
            points=(1, 2, 4, 8),
            at=lambda point: _subject(point, instances=point, connections=64),
            figures=(_cpu(FLAT), _RATE, _memory(LINEAR)),
        ),
        Sweep(
            name="frontends",
            axis="frontends, with 64 connections each",
            points=(1, 2, 3, 4),
            # The same connections shared by more would be asked for less in a turn each.
            at=lambda point: _subject(point, frontends=point, connections=64 * point),
            figures=(_cpu(FLAT), _RATE, _memory(LINEAR)),
        ),
        Sweep(
            name="rate",
            axis="requests per second, open loop, 64 connections",
            points=(100, 1000, 4000, 16_000, 32_000),
            at=lambda point: _subject(
                point, measure=Measure.OPEN, rate=float(point), connections=64
            ),
            figures=(_cpu(FLAT), _p50(FLAT)),
        ),
    )
}
