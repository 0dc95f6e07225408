"""`--metrics-config`: which latencies the metrics tell, and how. Source: Triton's metrics.md."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mpserve.settings.values import BadValue, parse_bool

COUNTER_LATENCIES: Final = "counter_latencies"
SUMMARY_LATENCIES: Final = "summary_latencies"
HISTOGRAM_LATENCIES: Final = "histogram_latencies"
SUMMARY_QUANTILES: Final = "summary_quantiles"
DEFAULT_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)


def check_metrics_config(texts: tuple[str, ...]) -> None:
    """Check `<setting>=<value>`, without a comma before the equals sign, and known settings."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or "," in name:
            raise BadValue(f"--metrics-config option format is <setting>=<value>. Got {text}")
        if name in _READERS:
            _READERS[name](value)


def split_metrics_config(text: str) -> tuple[str, ...]:
    """Return the values that the flag's environment variable holds.

    Commas stand between settings, and between quantiles: a piece without an equals sign goes on
    with the setting before it.
    """
    values: list[str] = []
    for piece in text.split(","):
        if "=" not in piece and values:
            values[-1] += f",{piece}"
        else:
            values.append(piece)
    return tuple(values)


def read_quantiles(text: str) -> tuple[float, ...]:
    """Return the quantiles of `<quantile>:<error>,...`; raises `BadValue`.

    An error bound that the peer may make use of is checked and not needed: all that is observed
    within the window is counted.
    """
    found: list[float] = []
    for pair in text.split(","):
        parts = pair.split(":")
        try:
            quantile, error = (float(part) for part in parts)
        except ValueError:
            quantile = error = -1.0
        if not (0.0 <= quantile <= 1.0 and 0.0 <= error <= 1.0):
            raise BadValue(
                f"{SUMMARY_QUANTILES}: '{pair}' is no '<quantile>:<error>' of two numbers from 0 "
                "to 1, like 0.5:0.05"
            )
        found.append(quantile)
    return tuple(found)


def read_latencies(texts: Iterable[object]) -> dict[str, object]:
    """Return the fields of `Settings` that the values of the flag mean; the last of each counts."""
    said: Mapping[str, str] = dict(_setting(str(text)) for text in texts)
    quantiles = read_quantiles(said[SUMMARY_QUANTILES]) if SUMMARY_QUANTILES in said else ()
    has_summaries = parse_bool(said.get(SUMMARY_LATENCIES, "false"))
    return {
        "metrics_counter_latencies": parse_bool(said.get(COUNTER_LATENCIES, "true")),
        "metrics_summary_quantiles": (quantiles or DEFAULT_QUANTILES) if has_summaries else (),
        "metrics_histogram_latencies": parse_bool(said.get(HISTOGRAM_LATENCIES, "false")),
    }


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    COUNTER_LATENCIES: parse_bool,
    SUMMARY_LATENCIES: parse_bool,
    HISTOGRAM_LATENCIES: parse_bool,
    SUMMARY_QUANTILES: read_quantiles,
}
