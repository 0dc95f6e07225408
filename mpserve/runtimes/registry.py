"""Runtimes by name: the built-in ones from a table, others by entry point.

The table is there for speed: reading the entry points of an environment takes tens of milliseconds,
which every worker would pay at its start, and so does the import of what reads them. A worker
imports only the runtime it needs.
"""

import importlib
from typing import TYPE_CHECKING, Final, cast

from mpserve.errors import InvalidRequest, LoadError, Unsupported
from mpserve.runtimes.protocol import Runtime

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

ENTRY_POINT_GROUP: Final = "mpserve.runtimes"

BUILT_IN: Final = {
    "python": "mpserve.runtimes.python_backend:PythonBackendRuntime",
    "mlserver": "mpserve.runtimes.mlserver_model:MLServerModelRuntime",
    "sklearn": "mpserve.runtimes.sklearn:SklearnRuntime",
    "xgboost": "mpserve.runtimes.xgboost:XGBoostRuntime",
    "lightgbm": "mpserve.runtimes.lightgbm:LightGBMRuntime",
    "onnxruntime": "mpserve.runtimes.onnxruntime:OnnxRuntime",
    "pytorch": "mpserve.runtimes.pytorch:PytorchRuntime",
}
"""Same rows as `[project.entry-points."mpserve.runtimes"]` in `pyproject.toml`; a test compares."""


def make_runtime(name: str) -> Runtime:
    """Return a new, empty runtime.

    Parameters
    ----------
    name
        Name in `BUILT_IN`, or of an entry point in the group `mpserve.runtimes`.

    Raises
    ------
    InvalidRequest
        There is no such runtime; in Triton's words, which has backends.
    LoadError
        Its module can not be imported.
    """
    return runtime_class(name)()


def runtime_class(name: str) -> type[Runtime]:
    """Return what makes runtimes of that name; raises as `make_runtime`."""
    target = BUILT_IN.get(name) or _entry_point_target(name)
    return _imported(name, target)


def require_streams(runtime: Runtime | type[Runtime], *, model_name: str) -> None:
    """Refuse a runtime for a decoupled model.

    Raises
    ------
    Unsupported
        It answers each request once.
    """
    if not hasattr(runtime, "execute_stream"):
        raise Unsupported(
            f"model '{model_name}' has the decoupled transaction policy, which the"
            f" runtime '{runtime.name}' does not support; set model_transaction_policy"
            " { decoupled: false }"
        )


def runtime_names() -> tuple[str, ...]:
    """Return the names of all runtimes of this environment, sorted. Slow: reads entry points."""
    others = _entry_points().names
    return tuple(sorted(others | BUILT_IN.keys()))


def _entry_point_target(name: str) -> str:
    found = [entry.value for entry in _entry_points().select(name=name)]
    if not found:
        error = InvalidRequest(
            f"unable to find backend library for backend '{name}', try specifying runtime on the"
            " model configuration."
        )
        error.add_note(f"runtimes of this environment: {', '.join(runtime_names())}")  # for the log
        raise error
    if len(set(found)) > 1:
        raise LoadError(f"runtime '{name}' is brought by several packages: {', '.join(found)}")
    return found[0]


def _entry_points() -> "EntryPoints":
    from importlib.metadata import entry_points  # noqa: PLC0415  # see the module's docstring

    return entry_points(group=ENTRY_POINT_GROUP)


def _imported(name: str, target: str) -> type[Runtime]:
    module_name, _, attribute = target.partition(":")
    try:
        return cast("type[Runtime]", getattr(importlib.import_module(module_name), attribute))
    except (ImportError, AttributeError) as error:
        raise LoadError(f"runtime '{name}' ({target}) can not be imported: {error}") from error
