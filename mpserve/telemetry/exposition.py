"""Prometheus' text format, version 0.0.4.

Own writer: the format is this page, and the client library keeps state of its own, which in a
server of several processes lies in shared memory instead.

Source: prometheus.io/docs/instrumenting/exposition_formats; order and numbers as prometheus-cpp,
which Triton uses, prints them.
"""

import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec


class Kind(enum.Enum):
    """Type of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    SUMMARY = "summary"
    HISTOGRAM = "histogram"


class Place(msgspec.Struct, frozen=True):
    """What of a histogram or summary a sample tells."""

    label: str
    number: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One line.

    Attributes
    ----------
    labels
        Printed sorted by name.
    place
        A further label: of which bucket (`le`) or quantile this is.
    suffix
        Added to the family's name: `_sum`, `_count`, `_bucket`.
    """

    value: float
    labels: Mapping[str, str] = {}
    place: Place | None = None
    suffix: str = ""


class PageForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a peer writes what the format leaves open.

    Attributes
    ----------
    place_goes_last
        Of the labels; otherwise it is sorted among them.
    place_text
        Writes its number.
    """

    place_goes_last: bool
    place_text: Callable[[float], str]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of one name. Without any, nothing is printed, not even its help."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...] = ()


def histogram_samples(
    labels: Mapping[str, str], *, bounds: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[Sample]:
    """Return the lines of one histogram.

    Parameters
    ----------
    bounds
        Upper bounds of the buckets, ascending, without infinity.
    counts
        Observations by bucket, not summed up; one more than there are bounds.
    total
        Sum of what was observed.
    """
    seen = 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        seen += count
        yield Sample(labels=labels, place=Place("le", bound), value=seen, suffix="_bucket")
    yield Sample(labels=labels, value=seen, suffix="_count")
    yield Sample(labels=labels, value=total, suffix="_sum")


def exposition(families: Iterable[Family], form: PageForm) -> bytes:
    """Return the text of a scrape."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {_escaped_help(family.help)}")
            lines.append(f"# TYPE {family.name} {family.kind.value}")
            lines.extend(_line(family.name, sample, form) for sample in family.samples)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _line(name: str, sample: Sample, form: PageForm) -> str:
    texts = dict(sorted(sample.labels.items()))
    if sample.place is not None:
        texts[sample.place.label] = form.place_text(sample.place.number)
        if not form.place_goes_last:
            texts = dict(sorted(texts.items()))
    labels = ",".join(f'{label}="{_escaped_value(text)}"' for label, text in texts.items())
    return f"{name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}"


def _number(value: float) -> str:
    """Whole numbers without a point; the others as shortly as they can be read back."""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped_value(text: str) -> str:
    return _escaped_help(text).replace('"', '\\"')


def _float_text(value: float) -> str:
    return _number(value) if math.isinf(value) else repr(float(value))


PROMETHEUS_CPP: Final = PageForm(place_goes_last=True, place_text=_number)
"""As prometheus-cpp writes a page, which Triton uses."""
PROMETHEUS_PYTHON: Final = PageForm(place_goes_last=False, place_text=_float_text)
"""As the client for Python does, which MLServer uses."""
