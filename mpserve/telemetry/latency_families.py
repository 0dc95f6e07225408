"""Triton's summaries and histogram of latencies.

Source: names, types, helps, labels and order of Triton 2.51 as seen running; of the histogram,
which came later, its documentation (metrics.md) and tests (L0_metrics).
"""

from collections.abc import Iterator
from typing import Final

from mpserve.telemetry.exposition import Family, Kind, Place, Sample, histogram_samples
from mpserve.telemetry.snapshot import Snapshot, VersionView

_CACHED: Final = "in microseconds (includes cached requests)"
_UNCACHED: Final = "in microseconds (does not include cached requests)"

SUMMARIES: Final = (
    ("request", f"Summary of inference request duration {_CACHED}"),
    ("queue", f"Summary of inference queuing duration {_CACHED}"),
    ("compute_input", f"Cumulative compute input duration {_UNCACHED}"),
    ("compute_infer", f"Cumulative compute inference duration {_UNCACHED}"),
    ("compute_output", f"Cumulative inference compute output duration {_UNCACHED}"),
)
"""In the order of the core's table."""


def tagged(view: VersionView) -> dict[str, str]:
    """Return the labels of a version, with the tags of its configuration."""
    tags = {f"_{key}": value for key, value in view.tags.items()}
    return {**tags, "model": view.model, "version": view.version}


def latency_families(
    snapshot: Snapshot, *, quantiles: tuple[float, ...], with_histogram: bool
) -> Iterator[Family]:
    """Return the families that are wanted.

    Parameters
    ----------
    quantiles
        Of the summaries; none for no summaries.
    """
    for index, (part, text) in enumerate(SUMMARIES if quantiles else ()):
        yield Family(
            name=f"nv_inference_{part}_summary_us",
            kind=Kind.SUMMARY,
            help=text,
            samples=tuple(_summary_samples(snapshot, index, quantiles)),
        )
    if with_histogram:
        yield Family(
            name="nv_inference_first_response_histogram_ms",
            kind=Kind.HISTOGRAM,
            help="Duration from request to first response in milliseconds",
            samples=tuple(_first_responses(snapshot)),
        )


def _summary_samples(
    snapshot: Snapshot, index: int, quantiles: tuple[float, ...]
) -> Iterator[Sample]:
    for view in snapshot.versions:
        if not view.counts.latencies.summaries:
            continue
        counts, recent = view.counts.latencies.summaries[index], view.recent_latencies[index]
        labels = tagged(view)
        yield Sample(labels=labels, suffix="_count", value=counts.count)
        yield Sample(labels=labels, suffix="_sum", value=counts.sum_us)
        for quantile in quantiles:
            place = Place("quantile", quantile)
            yield Sample(labels=labels, place=place, value=recent.quantile(quantile))


def _first_responses(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.versions:
        found = view.counts.latencies.first_responses
        if found is not None:
            yield from histogram_samples(
                tagged(view), bounds=found.bounds_ms, counts=found.counts, total=found.sum_ms
            )
