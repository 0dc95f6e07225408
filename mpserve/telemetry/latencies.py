"""How latencies of a model are distributed: what Triton's summaries and histograms tell.

The words lie in shared memory (`native/include/mpserve/latency_table.hpp`). A bucket of a summary
is at most a thirty-second of its value wide, so that a quantile is off by 1.6 % at most.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, Self

import msgspec

from mpserve.dialect import DialectName
from mpserve.model.config import ModelConfig
from mpserve.settings import Settings

FIRST_RESPONSE_BOUNDS_MS: Final = (100.0, 500.0, 2000.0, 5000.0)
"""What Triton's histogram has unless the model's configuration says other ones."""
WINDOW_NS: Final = 60_000_000_000
"""A quantile is of the last minute, as Triton has it."""
STEP_NS: Final = 12_000_000_000
_STEPS: Final = 32  # of one power of two, as the core has them
_STEP_BITS: Final = 5


class LatencyRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which latencies of a model are kept.

    Attributes
    ----------
    first_bounds_ms
        Upper bounds of the buckets of first responses, ascending; none when they are not kept.
    """

    summaries: bool = False
    first_bounds_ms: tuple[float, ...] = ()

    @property
    def keeps_any(self) -> bool:
        """There is something to keep."""
        return self.summaries or bool(self.first_bounds_ms)


def latency_rule(config: ModelConfig, settings: Settings) -> LatencyRule:
    """Return what of a model's latencies is kept: what the metrics tell."""
    if settings.dialect is not DialectName.TRITON or not settings.allow_metrics:
        return LatencyRule()
    bounds = config.first_response_bounds_ms or FIRST_RESPONSE_BOUNDS_MS
    return LatencyRule(
        summaries=bool(settings.metrics_summary_quantiles),
        first_bounds_ms=bounds if config.decoupled and settings.metrics_histogram_latencies else (),
    )


class LatencyCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of one kind.

    Attributes
    ----------
    buckets
        Index of the core's bucket -> observations; without empty ones.
    """

    sum_us: int = 0
    buckets: Mapping[int, int] = {}

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.buckets.values())

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        indices = self.buckets.keys() | other.buckets.keys()
        return type(self)(
            sum_us=self.sum_us + other.sum_us,
            buckets={one: self.buckets.get(one, 0) + other.buckets.get(one, 0) for one in indices},
        )

    def since(self, earlier: Self) -> Self:
        """Return what came after `earlier` was counted."""
        grown = {one: count - earlier.buckets.get(one, 0) for one, count in self.buckets.items()}
        return type(self)(
            sum_us=self.sum_us - earlier.sum_us,
            buckets={one: count for one, count in grown.items() if count > 0},
        )

    def quantile(self, share: float) -> float:
        """Return the latency in microseconds that this share does not exceed; NaN of nothing."""
        count = self.count
        if count == 0:
            return math.nan
        rank = max(math.ceil(share * count), 1)
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                return middle_us(index)
        return math.nan  # counts that grew while they were read


class FirstResponses(msgspec.Struct, frozen=True, kw_only=True):
    """How long the first responses of a decoupled model took.

    Attributes
    ----------
    counts
        By bucket, not summed up; one more than there are bounds.
    """

    bounds_ms: tuple[float, ...]
    sum_ms: int
    counts: tuple[int, ...]

    def __add__(self, other: Self) -> Self:
        """Return both together; bounds that were changed begin anew."""
        if self.bounds_ms != other.bounds_ms:
            return other
        counts = tuple(sum(pair) for pair in zip(self.counts, other.counts, strict=True))
        return type(self)(
            bounds_ms=self.bounds_ms, sum_ms=self.sum_ms + other.sum_ms, counts=counts
        )


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a version; without a rule, nothing.

    Attributes
    ----------
    summaries
        In the order of the core: request, queue, input, infer, output. Empty when not kept.
    """

    summaries: tuple[LatencyCounts, ...] = ()
    first_responses: FirstResponses | None = None

    @classmethod
    def from_core(cls, told: tuple[object, object] | None) -> Self:
        """Return what the core's `ModelQueue.counts` has under `latencies`."""
        if told is None:
            return cls()
        summaries, first = msgspec.convert(told, _Told)
        return cls(
            summaries=tuple(
                LatencyCounts(sum_us=sum_us, buckets=buckets) for sum_us, buckets in summaries or ()
            ),
            first_responses=None
            if first is None
            else FirstResponses(bounds_ms=first[0], sum_ms=first[1], counts=first[2]),
        )

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        first = self.first_responses
        if other.first_responses is not None:
            first = other.first_responses if first is None else first + other.first_responses
        pairs = zip(self.summaries, other.summaries, strict=False)
        return type(self)(
            summaries=tuple(one + two for one, two in pairs)
            if self.summaries and other.summaries
            else self.summaries or other.summaries,
            first_responses=first,
        )


_Summaries = list[tuple[int, dict[int, int]]]
_First = tuple[tuple[float, ...], int, tuple[int, ...]]
_Told = tuple[_Summaries | None, _First | None]


def middle_us(index: int) -> float:
    """Return the middle of a bucket, in microseconds; of a small one the only number in it."""
    if index < 2 * _STEPS:
        return float(index)
    shift = (index >> _STEP_BITS) - 1
    least = (_STEPS + index % _STEPS) << shift
    return float(least + (1 << shift) // 2)


class LatencyWindow:
    """What was counted within the last minute, or since the last look when that is longer ago.

    Nothing runs on a clock: a look keeps what it saw. Until there is one of a minute ago, all that
    was counted is recent.
    """

    def __init__(self) -> None:
        self._seen: dict[object, list[tuple[int, tuple[LatencyCounts, ...]]]] = {}

    def recent(
        self, key: object, counts: tuple[LatencyCounts, ...], *, now_ns: int
    ) -> tuple[LatencyCounts, ...]:
        """Return the part of `counts` that is recent.

        Parameters
        ----------
        key
            Whose they are.
        """
        seen = self._seen.setdefault(key, [])
        if seen and _went_back(seen[-1][1], counts):  # unloaded and loaded again meanwhile
            seen.clear()
        while len(seen) > 1 and now_ns - seen[1][0] >= WINDOW_NS:
            del seen[0]
        earlier = seen[0][1] if seen and now_ns - seen[0][0] >= WINDOW_NS else ()
        if not seen or now_ns - seen[-1][0] >= STEP_NS:
            seen.append((now_ns, counts))
        if not earlier:
            return counts
        return tuple(now.since(before) for now, before in zip(counts, earlier, strict=True))

    def keep(self, keys: Iterable[object]) -> None:
        """Forget all others."""
        kept = set(keys)
        self._seen = {key: seen for key, seen in self._seen.items() if key in kept}


def _went_back(before: tuple[LatencyCounts, ...], now: tuple[LatencyCounts, ...]) -> bool:
    return len(before) != len(now) or any(
        one.count < earlier.count for one, earlier in zip(now, before, strict=True)
    )
