"""A Triton model's Python file, imported as `<version>.<file>` so that each version is a package.

Guarantees
    Nothing is written into the repository: no `__pycache__`, which would count as a change of the
    model. Relative imports find the files of the version, plain ones those of the version and of
    the model directory.
Assumes
    One model in the process: `sys.path` and `sys.modules` are not put back.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from mpserve.errors import LoadError

MODEL_CLASS: Final = "TritonPythonModel"
DEFAULT_FILE: Final = "model.py"
_SUFFIX: Final = ".py"


def import_model_class(*, model_directory: str, version_directory: str, filename: str) -> Any:  # noqa: ANN401  # the user's class
    """Import the file and return its class `TritonPythonModel`.

    Raises
    ------
    LoadError
        The file is missing or is no Python file.
    Exception
        What the file raises, and `AttributeError` when it has no such class.
    """
    file = find_model_file(version_directory, filename)
    module = import_file(file, model_directory=model_directory)
    return getattr(module, MODEL_CLASS)


def find_model_file(version_directory: str, filename: str) -> Path:
    """Return the model's file; raises `LoadError` when it is missing or is no Python file."""
    file = Path(version_directory) / (filename or DEFAULT_FILE)
    if file.suffix != _SUFFIX:
        raise LoadError(f"Model name must end with '{_SUFFIX}'. Model name is \"{file.name}\".")
    if not file.is_file():
        raise LoadError(f"Python model file not found in '{file}'")
    return file


def import_file(file: Path, *, model_directory: str) -> ModuleType:
    """Import a file of a version's directory; raises whatever it raises."""
    version_directory = str(file.parent)
    sys.dont_write_bytecode = True
    sys.path.extend([version_directory, model_directory])
    _forget_listings(version_directory, model_directory)
    package = _make_package(version_directory)
    return importlib.import_module(f"{package}.{file.stem}")


def _make_package(version_directory: str) -> str:
    """Make the version's package without a search, which could find a folder of the same name.

    Modules of an earlier load are forgotten.
    """
    name = Path(version_directory).name
    if name in sys.modules:  # a look at each name writes to memory shared with the spawner
        for stale in [known for known in sys.modules if known.startswith(f"{name}.")]:
            del sys.modules[stale]
    package = cast("Any", ModuleType(name))
    package.__path__ = [version_directory]
    package.__package__ = name
    sys.modules[name] = package
    return name


def _forget_listings(*directories: str) -> None:
    """Let finders look again into folders whose files may be younger than their time stamps tell.

    Those of other folders notice changes; `importlib.invalidate_caches` would write to them all,
    and their memory is shared with the spawner.
    """
    for directory in directories:
        finder = sys.path_importer_cache.get(directory)
        if hasattr(finder, "invalidate_caches"):
            cast("Any", finder).invalidate_caches()  # the stub has not what most finders have
