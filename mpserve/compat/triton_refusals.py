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


class ResponseIterator:
    """Answers of a decoupled model to a request that a model made."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        del args, kwargs
        _refuse("ResponseIterator: requests to other models (BLS)")


def load_model(
    model_name: str, config: str = "", files: dict[str, bytes] | None = None
) -> NoReturn:
    """Load a model of this server."""
    del config, files
    _refuse(f"load_model('{model_name}'): loading models from a model")


def unload_model(model_name: str, unload_dependents: bool = False) -> NoReturn:  # noqa: FBT001, FBT002  # Triton's signature
    """Unload a model of this server."""
    del unload_dependents
    _refuse(f"unload_model('{model_name}'): unloading models from a model")


def is_model_ready(model_name: str, model_version: str = "") -> NoReturn:
    """Tell whether a model of this server is ready."""
    del model_version
    _refuse(f"is_model_ready('{model_name}'): asking for other models from a model")
