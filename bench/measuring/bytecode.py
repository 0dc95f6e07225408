"""Bytecode of what is measured, made before the clock runs.

Without it each start of a server compiles what it imports: hundreds of milliseconds of a start and
of the first load that nobody has who installed the package. `PYTHONDONTWRITEBYTECODE`, which some
containers set, keeps even a warm-up from writing it.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

from bench.errors import BenchError
from bench.workshop import PROJECT

PACKAGES: Final = ("mpserve", "bench")
COMPILE_TIMEOUT_S: Final = 300
UNWRITTEN: Final = "PYTHONDONTWRITEBYTECODE"
COMPILING: Final = "Compiling "  # how compileall begins the line of a file that had none


def compile_bytecode(python: Path) -> str:
    """Compile the packages of this work tree for `python`; return what was done, for the results.

    Raises
    ------
    BenchError
        A file does not compile, or its bytecode cannot be written.
    """
    argv = [str(python), "-m", "compileall", *PACKAGES]
    try:
        ran = subprocess.run(
            argv,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"cannot compile the bytecode of {', '.join(PACKAGES)}: {error}") from None
    lines = ran.stdout.splitlines()
    if ran.returncode != 0:
        wrong = [line for line in lines if line.startswith("***")] or [ran.stderr.strip()]
        raise BenchError(f"bytecode of {', '.join(PACKAGES)} cannot be compiled: {wrong[0]}")
    count = sum(line.startswith(COMPILING) for line in lines)
    unwritten = f"; {UNWRITTEN} is not handed on to servers" if UNWRITTEN in os.environ else ""
    return f"{count} files of {' and '.join(PACKAGES)} compiled before the run{unwritten}"


def environment_of_servers() -> dict[str, str]:
    """Return the environment for servers: as ours, but what they compile they may keep."""
    return {name: value for name, value in os.environ.items() if name != UNWRITTEN}
