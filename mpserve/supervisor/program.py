"""Workers that are programs of their own: another interpreter, another allocator.

A worker is a fork of the spawner unless its model asks for what a fork can not have. Then the fork
replaces itself by the interpreter of the model's environment, with the allocator's library loaded
before all others, and runs the same worker main (`executed`).

Source: Triton's `EXECUTION_ENV_PATH`; MLServer's `environment_path` and `environment_tarball`.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

import msgspec

import mpserve
from mpserve.control.spawner_messages import Program
from mpserve.lifecycle.actual import GenerationRecord
from mpserve.model.definition import ConfigFormat
from mpserve.settings import Allocator, Settings
from mpserve.supervisor.allocator import allocator_of, find_allocator

MODEL_DIRECTORY_WORD: Final = "$$TRITON_MODEL_DIRECTORY"
_BOOTSTRAP: Final = (
    "import sys;"
    "sys.path[:] = [path for path in sys.path if path] + sys.argv[2].split(':');"
    "import mpserve;"
    "mpserve.__path__.append(sys.argv[3]);"
    "from mpserve.supervisor.executed import main;"
    "sys.exit(main(int(sys.argv[1])))"
)
"""The environment's own packages come first; what it has not is found where the server found it.
The core of an editable installation lies apart from the sources, so its folder is named."""


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """What an executed program is told, through a file in memory that it inherits.

    Attributes
    ----------
    target, start_type
        Of its entry point.
    start
        The start Struct, as MessagePack.
    version
        Of mpserve, which must be the same in the environment if that has one.
    """

    target: str
    start_type: str
    start: bytes
    title: str
    control_fd: int
    version: str = mpserve.__version__


def program_of(record: GenerationRecord, settings: Settings) -> Program | None:
    """Return the program that a generation's workers need; `None` when a fork will do.

    Raises
    ------
    LoadError
        The allocator is unknown or not installed.
    """
    config = record.config
    allocator = allocator_of(config.allocator) if config.allocator else settings.allocator
    if allocator is Allocator.MALLOC and not config.environment:
        return None
    # Archives and subprocesses, which few servers have a use for.
    from mpserve.supervisor.environment import default_directory  # noqa: PLC0415

    user = settings.worker_user
    return Program(
        environment=environment_place(config.environment, record.definition.directory),
        environments_directory=settings.environments_dir
        or default_directory(os.getuid() if user is None else user.uid),
        preload=find_allocator(allocator),
        is_activated=record.definition.format is ConfigFormat.TRITON,
    )


def environment_place(environment: str, model_directory: str) -> str:
    """Return the absolute path of an environment that a model asks for; "" for none."""
    if not environment:
        return ""
    expanded = environment.replace(MODEL_DIRECTORY_WORD, model_directory)
    return str(Path(model_directory, expanded))


def execute(
    program: Program, execution: Execution, *, kept_fds: Iterable[int], environ: Mapping[str, str]
) -> NoReturn:
    """Replace this process by the program.

    Raises
    ------
    LoadError
        Its environment can not be used.
    OSError
        The system refused.
    """
    interpreter = Path(sys.executable)
    folder: Path | None = None
    if program.environment:
        from mpserve.supervisor.environment import (  # noqa: PLC0415  # as in `program_of`
            interpreter_of,
            prepare_environment,
        )

        folder = prepare_environment(
            program.environment,
            directory=program.environments_directory,
            is_activated=program.is_activated,
        )
        interpreter = interpreter_of(folder)
    start_fd = os.memfd_create("mpserve-start", 0)  # inherited
    with os.fdopen(os.dup(start_fd), "wb") as file:
        file.write(msgspec.msgpack.encode(execution))
    for fd in (execution.control_fd, *kept_fds):
        os.set_inheritable(fd, True)  # noqa: FBT003  # the function's only form
    os.execve(  # noqa: S606  # what the operator configured
        interpreter,
        [
            str(interpreter),
            "-c",
            _BOOTSTRAP,
            str(start_fd),
            ":".join(package_directories()),
            core_directory(),
        ],
        environment_variables(environ, folder=folder, preload=program.preload),
    )


def environment_variables(
    environ: Mapping[str, str], *, folder: Path | None, preload: str
) -> dict[str, str]:
    """Return the variables of the program: as if the environment had been activated."""
    variables = dict(environ)
    if preload:
        variables["LD_PRELOAD"] = _prepended(preload, variables.get("LD_PRELOAD", ""))
    if folder is not None:
        variables.pop("PYTHONHOME", None)
        variables["PATH"] = _prepended(str(folder / "bin"), variables.get("PATH", ""))
        # A packed environment brings libraries that its interpreter must find before the system's.
        variables["LD_LIBRARY_PATH"] = _prepended(
            str(folder / "lib"), variables.get("LD_LIBRARY_PATH", "")
        )
        name = "VIRTUAL_ENV" if (folder / "pyvenv.cfg").is_file() else "CONDA_PREFIX"
        variables[name] = str(folder)
    return variables


def package_directories() -> tuple[str, ...]:
    """Return where mpserve and what it needs lie."""
    own = str(Path(mpserve.__file__).parents[1])
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return tuple(dict.fromkeys((own, *installed)))


def import_directories() -> tuple[str, ...]:
    """Return where workers import from: the language's own folder, packages, the core."""
    return (str(Path(os.__file__).parent), *package_directories(), core_directory())


def core_directory() -> str:
    """Return where the native core lies."""
    spec = find_spec("mpserve._native")
    assert spec is not None, "the core is part of the package"
    assert spec.origin is not None, "the core is a file"
    return str(Path(spec.origin).parent)


def _prepended(first: str, rest: str) -> str:
    return f"{first}:{rest}" if rest else first
