"""The folder `.bench` of the work tree, ignored by git: peers' environments, results, and the
scratch files of the one run that holds its lock.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.errors import BenchError

PROJECT: Final = Path(__file__).resolve().parents[1]
WORKSHOP: Final = PROJECT / ".bench"
SCRATCH: Final = WORKSHOP / "scratch"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the only right to measure in this work tree: two runs at once would measure each other.

    Raises
    ------
    BenchError
        Another run holds it.
    """
    WORKSHOP.mkdir(exist_ok=True)
    with (WORKSHOP / "lock").open("a+") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder.seek(0)
            pid = holder.read().strip() or "unknown"
            raise BenchError(f"another run (pid {pid}) is measuring; wait for its end") from error
        holder.truncate(0)
        holder.write(str(os.getpid()))
        holder.flush()
        yield


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder that goes at the end of the block, or with the next run's `clear_scratch`."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder)


def clear_scratch() -> None:
    """Remove what a killed run left. Call it with the lock held."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
