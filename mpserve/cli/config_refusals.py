"""What the load of a model version would refuse in its configuration, seen without loading it.

Guarantees
    The checks are those of the load. What code of the model may still change is not judged.
"""

import ast
from collections.abc import Callable, Iterable
from typing import Final

from mpserve.cli.model_files import context_of
from mpserve.errors import MpserveError
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.triton.completion import check_completed, check_set_tensors
from mpserve.runtimes.protocol import LoadContext
from mpserve.runtimes.python_backend import check_parameters
from mpserve.runtimes.python_model_file import MODEL_CLASS, find_model_file
from mpserve.runtimes.registry import BUILT_IN, require_streams, runtime_class

_COMPLETING: Final = "auto_complete_config"


def config_refusals(definition: ModelDefinition, version: VersionDefinition) -> Iterable[str]:
    """Return the messages; none for an ensemble and for MLServer's settings, read whole before."""
    if definition.format is not ConfigFormat.TRITON or not definition.runtime:
        return
    context = context_of(definition, version)
    for check in (_check_runtime, _check_tensors):
        try:
            check(context, definition)
        except MpserveError as error:
            yield error.message


def _check_runtime(context: LoadContext, definition: ModelDefinition) -> None:
    try:
        runtime = runtime_class(definition.runtime)
    except MpserveError:
        return  # told of with the files
    if context.config.decoupled:
        require_streams(runtime, model_name=context.model_name)
    if definition.runtime == "python":
        check_parameters(context)


def _check_tensors(context: LoadContext, definition: ModelDefinition) -> None:
    """Those that nothing completes must be whole."""
    if definition.runtime in BUILT_IN:
        check = _CHECKS.get(definition.runtime, _check_whole)
        check(context)


def _check_whole(context: LoadContext) -> None:
    check_completed(context.config_json)


def _check_of_python(context: LoadContext) -> None:
    if not _may_complete(context):
        check_completed(context.config_json)


def _check_of_onnx(context: LoadContext) -> None:
    check_set_tensors(context.config_json)


def _may_complete(context: LoadContext) -> bool:
    """Tell whether the class may have the function: it is named in the file, or inherited."""
    try:
        file = find_model_file(context.version_directory, context.config.default_model_filename)
        source = file.read_bytes()
        module = ast.parse(source)
    except (MpserveError, OSError, ValueError, SyntaxError):
        return True  # told of with the files
    return _COMPLETING.encode() in source or not _defines_alone(module)


def _defines_alone(module: ast.Module) -> bool:
    """Tell whether all that the class has stands in this file."""
    return any(
        isinstance(node, ast.ClassDef)
        and node.name == MODEL_CLASS
        and not (node.bases or node.keywords or node.decorator_list)
        for node in ast.walk(module)
    )


_CHECKS: Final[dict[str, Callable[[LoadContext], None]]] = {
    "python": _check_of_python,
    "onnxruntime": _check_of_onnx,
}
"""Runtime -> check, for those that may complete a configuration; other packages' are not known."""
