"""Makes `import mlserver` find the compatible package where the real one is not installed.

The peer's module names are rows of a table here, so that our files can be named after what is in
them. A module of the alias is made on import and takes its names from the modules of its row.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

_HOME: Final = "mpserve.compat.mlserver"

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "mlserver": ("",),
    "mlserver.codecs": ("codecs",),
    "mlserver.codecs.base": ("codecs.codec", "codecs.registry"),
    "mlserver.codecs.base64": ("codecs.base64", "codecs.codec", "codecs.lists", "types"),
    "mlserver.codecs.datetime": ("codecs.datetime", "codecs.codec", "codecs.lists", "types"),
    "mlserver.codecs.decorator": ("codecs.decorator", "codecs.registry", "errors"),
    "mlserver.codecs.errors": ("errors",),
    "mlserver.codecs.json": ("codecs.json", "codecs.codec"),
    "mlserver.codecs.lists": ("codecs.lists",),
    "mlserver.codecs.numpy": ("codecs.codec", "codecs.numpy", "codecs.string", "codecs.lists"),
    "mlserver.codecs.pandas": (
        "codecs.codec",
        "codecs.pandas",
        "codecs.json",
        "codecs.lists",
        "codecs.decoded",
        "codecs.numpy",
        "codecs.string",
        "types",
    ),
    "mlserver.codecs.string": ("codecs.string", "codecs.codec", "codecs.lists", "types"),
    "mlserver.codecs.utils": (
        "codecs.batch_dimension",
        "codecs.decoded",
        "codecs.negotiation",
        "codecs.registry",
        "codecs.codec",
        "settings",
    ),
    "mlserver.batching": ("batching",),
    "mlserver.batching.requests": ("batching",),
    "mlserver.batching.shape": ("batching",),
    "mlserver.cli": (),
    "mlserver.cli.main": ("server_parts", "settings_files"),
    "mlserver.cli.serve": ("settings_files",),
    "mlserver.cloudevents": ("cloud_events", "types", "settings"),
    "mlserver.context": ("context",),
    "mlserver.errors": ("errors",),
    "mlserver.grpc": (),
    "mlserver.grpc.converters": ("grpc_converters",),
    "mlserver.grpc.dataplane_pb2": ("grpc_messages",),
    "mlserver.grpc.dataplane_pb2_grpc": ("grpc_stub",),
    "mlserver.handlers": ("handlers", "server_parts"),
    "mlserver.handlers.custom": ("handlers", "model"),
    "mlserver.handlers.dataplane": (
        "server_parts",
        "model",
        "context",
        "headers",
        "settings",
        "errors",
        "types",
    ),
    "mlserver.logging": ("logging", "context", "settings"),
    "mlserver.metrics": ("metrics", "server_parts"),
    "mlserver.metrics.context": ("metrics", "context", "errors"),
    "mlserver.metrics.errors": ("errors",),
    "mlserver.metrics.registry": ("metrics", "errors"),
    "mlserver.model": ("model", "errors", "codecs.decoded", "codecs.negotiation"),
    "mlserver.repository": ("server_parts", "settings_files"),
    "mlserver.repository.load": ("settings_files",),
    "mlserver.repository.repository": ("server_parts", "settings_files"),
    "mlserver.rest": (),
    "mlserver.rest.responses": ("rest_response",),
    "mlserver.settings": ("settings",),
    "mlserver.server": ("server_parts", "model", "settings", "logging", "batching"),
    "mlserver.types": ("types",),
    "mlserver.types.base": ("shape",),
    "mlserver.types.dataplane": ("types",),
    "mlserver.types.model_repository": ("types",),
    "mlserver.utils": ("model_uri", "headers", "errors", "tasks"),
    "mlserver.version": ("version",),
}
"""Module of the peer -> our modules, below this package, whose names it shows."""


class _AliasLoader(importlib.abc.Loader):
    """Fills a module with the names of the modules in its row."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        for home in MODULES[module.__name__]:
            source = importlib.import_module(f"{_HOME}.{home}" if home else _HOME)
            names = {name: value for name, value in vars(source).items() if not _is_dunder(name)}
            module.__dict__.update(names)
            for shown in ("__all__", "__version__", "__doc__"):
                if shown in vars(source):
                    module.__dict__[shown] = vars(source)[shown]


class _AliasFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of the table, and none else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname not in MODULES:
            return None
        is_package = any(name.startswith(f"{fullname}.") for name in MODULES)
        return importlib.machinery.ModuleSpec(fullname, _AliasLoader(), is_package=is_package)


def supply_mlserver() -> bool:
    """Make `import mlserver` work in this process.

    Returns
    -------
    bool
        Whether the compatible package is used: false where the real one is installed.
    """
    if any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        return True
    if importlib.util.find_spec("mlserver") is not None:
        return False
    sys.meta_path.append(_AliasFinder())
    return True


def withdraw_mlserver() -> None:
    """Undo `supply_mlserver`: for a process that ends a model and goes on."""
    finders = [finder for finder in sys.meta_path if isinstance(finder, _AliasFinder)]
    for finder in finders:
        sys.meta_path.remove(finder)
    for name in MODULES if finders else ():
        sys.modules.pop(name, None)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
