"""`model_metrics` of a configuration: the buckets of a histogram. Pure."""

import itertools
import math
from typing import Final

from msgspec import UNSET

from mpserve.errors import InvalidRequest
from mpserve.model.triton.config import TritonConfig

FIRST_RESPONSE_FAMILY: Final = "nv_inference_first_response_histogram_ms"
MAX_BUCKETS: Final = 64  # the core's table has no more


def first_response_bounds(config: TritonConfig) -> tuple[float, ...]:
    """Return the buckets that the configuration gives the histogram; none when it gives none.

    Options of other families mean nothing, as in Triton.
    """
    if config.model_metrics is UNSET:
        return ()
    for control in config.model_metrics.metric_control:
        identifier, options = control.metric_identifier, control.histogram_options
        if identifier is UNSET or options is UNSET:
            continue
        if identifier.family == FIRST_RESPONSE_FAMILY:
            return options.buckets
    return ()


def check_metric_control(config: TritonConfig) -> None:
    """Check the buckets.

    Raises
    ------
    InvalidRequest
        They do not ascend, or are too many.
    """
    buckets = first_response_bounds(config)
    where = f"'model_metrics' of '{FIRST_RESPONSE_FAMILY}' for {config.name}"
    if len(buckets) > MAX_BUCKETS:
        raise InvalidRequest(f"{where} has {len(buckets)} buckets; {MAX_BUCKETS} are possible")
    ascends = all(one < other for one, other in itertools.pairwise(buckets))
    if not ascends or not all(math.isfinite(bound) for bound in buckets):
        raise InvalidRequest(f"{where} has buckets {list(buckets)}; numbers that ascend are needed")
