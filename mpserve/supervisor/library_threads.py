"""How many threads the numerical libraries of the next child may use.

A numerical library makes as many threads as there are CPUs, in each process; several instances then
hinder each other. The spawner tells its own libraries, of which a fork has copies. Told in the
child, they would start all their threads at once, and those spin for a while before they sleep;
told here, the child's start when its model first computes, if it ever does.

Guarantees
    What the operator has set in the environment holds.
Assumes
    Libraries end their threads before a fork, as OpenBLAS does, or have none until they compute.
Source: the variables that OpenMP, OpenBLAS, MKL, BLIS, numexpr and Accelerate read.
"""

from collections.abc import MutableMapping
from typing import Final

VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# ONNX Runtime reports to its maker since 1.31, by a thread that starts with its import and that no
# fork has. What a model says stays on this machine, unless the operator wants it otherwise.
NO_REPORTS: Final = "ORT_DISABLE_TELEMETRY"


class LibraryThreads:
    """The threads of this process's libraries, and of those that its children load.

    Parameters
    ----------
    environ
        Of this process.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._environ = environ
        self._is_told = any(variable in environ for variable in VARIABLES)
        self._threads = 0
        self._are_asked = False

    @property
    def are_set(self) -> bool:
        """Whether there is nothing to be set before the first child."""
        return self._is_told or self._are_asked

    @property
    def count(self) -> int:
        """How many the children forked now use; 0 for what the operator has set."""
        return self._threads

    def begin(self) -> None:
        """Load libraries with one thread: the spawner itself never computes."""
        self._environ.setdefault(NO_REPORTS, "1")
        if not self._is_told:
            self._set_variables(1)

    def set(self, threads: int) -> None:
        """Let the children forked from now on use so many threads."""
        self._are_asked = True
        if self._is_told or threads == self._threads:
            return
        # Looks at all libraries of the process: milliseconds, so only when the number changes.
        from threadpoolctl import threadpool_limits  # noqa: PLC0415  # most spawners' first need

        self._set_variables(threads)
        threadpool_limits(threads)

    def _set_variables(self, threads: int) -> None:
        self._threads = threads
        self._environ.update(dict.fromkeys(VARIABLES, str(threads)))
