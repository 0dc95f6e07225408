"""What a runtime would miss in a model version, seen without loading the model."""

import ast
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from mpserve.errors import MpserveError
from mpserve.model.definition import ModelDefinition, VersionDefinition
from mpserve.repository.inspection import Finding, Severity
from mpserve.repository.layout import MODEL_SETTINGS_FILE
from mpserve.runtimes.artifact import find_artifact
from mpserve.runtimes.protocol import LoadContext
from mpserve.runtimes.python_model_file import DEFAULT_FILE, MODEL_CLASS, find_model_file
from mpserve.runtimes.registry import runtime_class
from mpserve.scheduling.cpu_share import told_threads
from mpserve.scheduling.shared_weights import shares_weights
from mpserve.supervisor.allocator import allocator_of, find_allocator
from mpserve.supervisor.program import environment_place

_ENSEMBLE: Final = "ensemble"


def missing_files(definition: ModelDefinition, version: VersionDefinition) -> Iterable[Finding]:
    """Return what is wrong with the files of a version; nothing for an ensemble, which has none."""
    own = version.own
    runtime = definition.runtime if own is None else own.runtime
    if not runtime or definition.config.platform == _ENSEMBLE:
        return
    context = context_of(definition, version)
    yield from _program(context)
    yield from _parameters(context)
    try:
        default_files = tuple(runtime_class(runtime).default_files)
    except MpserveError as error:
        yield _finding(context, definition.directory, error.message)
        return
    check = _CHECKS.get(runtime)
    if check is not None:
        yield from check(context)
    elif default_files:
        try:
            find_artifact(context, default_files=default_files)
        except MpserveError as error:
            yield _finding(context, context.version_directory, error.message)


def _program(context: LoadContext) -> Iterator[Finding]:
    """The environment and the allocator that a model asks for must be there."""
    place = environment_place(context.config.environment, context.model_directory)
    if place and not Path(place).exists():
        yield _finding(context, place, "there is no such Python environment")
    if context.config.allocator:
        try:
            find_allocator(allocator_of(context.config.allocator))
        except MpserveError as error:
            yield _finding(context, context.model_directory, error.message)


def _parameters(context: LoadContext) -> Iterator[Finding]:
    """Parameters that are first read when a worker starts must hold what it can take."""
    for read in (told_threads, shares_weights):
        try:
            read(context.config)
        except MpserveError as error:
            yield _finding(context, context.model_directory, error.message)


def context_of(definition: ModelDefinition, version: VersionDefinition) -> LoadContext:
    """Return what a runtime would be told, as far as it is known before a start."""
    own = version.own
    return LoadContext(
        model_name=definition.name,
        version=version.version,
        instance_name=definition.name,
        instance_kind="",
        model_directory=version.directory if own is not None else definition.directory,
        version_directory=version.directory,
        config=definition.config if own is None else own.config,
        config_json=definition.config_json,
        settings_json=definition.settings_json if own is None else own.settings_json,
        complete_config=False,
    )


def _finding(
    context: LoadContext, path: str | Path, message: str, *, line: int | None = None
) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        model=context.model_name,
        path=str(path),
        line=line,
        message=message,
    )


# --- Python models -------------------------------------------------------------------------------


def _python_file(context: LoadContext) -> Iterator[Finding]:
    """The file of a `TritonPythonModel` must be there, parse, and define the class."""
    try:
        file = find_model_file(context.version_directory, context.config.default_model_filename)
    except MpserveError as error:
        name = context.config.default_model_filename or DEFAULT_FILE
        yield _finding(context, Path(context.version_directory, name), error.message)
        return
    try:
        module = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        yield _finding(context, file, f"SyntaxError: {error.msg}", line=error.lineno)
    except (OSError, ValueError) as error:
        yield _finding(context, file, f"it can not be read: {error}")
    else:
        if not _may_define(module, MODEL_CLASS):
            yield _finding(context, file, f"it does not define the class '{MODEL_CLASS}'")


def _may_define(module: ast.Module, name: str) -> bool:
    """Tell whether a module may have a name: it is bound anywhere, or by a star import."""
    return any(
        (isinstance(node, ast.ClassDef) and node.name == name)
        or (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.alias) and (node.asname or node.name) in {name, "*"})
        for node in ast.walk(module)
    )


# --- MLServer's classes --------------------------------------------------------------------------


class _Settings(msgspec.Struct):
    implementation: str


def _implementation(context: LoadContext) -> Iterator[Finding]:
    """The module of an `implementation` must be beside the settings, or installed."""
    dotted = msgspec.json.decode(context.settings_json, type=_Settings).implementation
    top = dotted.partition(".")[0]
    folder = Path(context.model_directory)
    if "." not in dotted or not top.isidentifier():
        reason = f"implementation '{dotted}' is no dotted path of a class"
    elif (folder / f"{top}.py").is_file() or (folder / top).is_dir() or _is_installed(top):
        return
    else:
        reason = (
            f"implementation '{dotted}': no module '{top}' lies in '{folder}', and none is "
            "installed here"
        )
    yield _finding(context, folder / MODEL_SETTINGS_FILE, reason)


def _is_installed(module: str) -> bool:
    if module == "mlserver":  # supplied by mpserve where it is not installed
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


_CHECKS: Final[dict[str, Callable[[LoadContext], Iterator[Finding]]]] = {
    "python": _python_file,
    "mlserver": _implementation,
}
"""Runtime -> its own check; those without one have a file that `find_artifact` finds."""
