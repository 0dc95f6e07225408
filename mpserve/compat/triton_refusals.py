"""Names of Triton's module that a model may import, and that say so when they are used.

A model that only imports or mentions them works; one that needs them learns why it does not.
"""

from typing import NoReturn

from mpserve.errors import Unsupported


def _refuse(what: str) -> NoReturn:
    raise Unsupported(f"{what} is not supported in a worker")


class MetricFamily:
    """Custom metrics of a model."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2

    def __init__(self, name: str, description: str, kind: int) -> None:
        del description, kind
        _refuse(f"MetricFamily('{name}'): custom metrics of models")


class Metric:
    """One metric of a family; made by `MetricFamily.Metric`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        del args, kwargs
        _refuse("Metric: custom metrics of models")
