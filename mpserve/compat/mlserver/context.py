"""The model whose code is running: what `log` and `register` label metrics with."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mpserve.compat.mlserver.settings import ModelSettings

model_name_var: ContextVar[str] = ContextVar("model_name")
model_version_var: ContextVar[str] = ContextVar("model_version")


@contextmanager
def model_context(model_settings: ModelSettings) -> Iterator[None]:
    """Say within the block that this model's code is running."""
    name_token = model_name_var.set(model_settings.name)
    version_token = model_version_var.set(model_settings.version or "")
    try:
        yield
    finally:
        model_name_var.reset(name_token)
        model_version_var.reset(version_token)
