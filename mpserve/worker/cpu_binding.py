"""The CPUs and threads of a worker: set before its model is loaded.

A numerical library makes as many threads as there are CPUs, in each process; several instances then
hinder each other. What the operator has set in the environment holds.

Source: the variables that OpenMP, OpenBLAS, MKL, BLIS, numexpr and Accelerate read.
"""

import os
from typing import Final

from threadpoolctl import threadpool_limits

from mpserve.errors import LoadError
from mpserve.scheduling.cpu_share import CpuShare

VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def limit_cpus(share: CpuShare) -> None:
    """Bind this process to its CPUs, and its libraries to their threads.

    Raises
    ------
    LoadError
        The machine has not one of the CPUs.
    """
    if share.cpus:
        try:
            os.sched_setaffinity(0, share.cpus)
        except OSError as error:
            raise LoadError(
                f"CPUs {share.cpus[0]}-{share.cpus[-1]} of the host policy are not there for this "
                f"server; it has {', '.join(map(str, sorted(os.sched_getaffinity(0))))}"
            ) from error
    if any(variable in os.environ for variable in VARIABLES):
        return
    # For libraries that the model loads, and for those that are there: NumPy's came with the fork.
    os.environ.update(dict.fromkeys(VARIABLES, str(share.threads)))
    threadpool_limits(share.threads)
