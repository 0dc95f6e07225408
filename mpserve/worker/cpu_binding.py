"""The CPUs of a worker: set before its model is loaded, so that all its threads have them."""

import os

from mpserve.errors import LoadError


def bind_to(cpus: tuple[int, ...]) -> None:
    """Bind this process to its CPUs; to none when there are none.

    Raises
    ------
    LoadError
        The machine has not one of the CPUs.
    """
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise LoadError(
            f"CPUs {cpus[0]}-{cpus[-1]} of the host policy are not there for this "
            f"server; it has {', '.join(map(str, sorted(os.sched_getaffinity(0))))}"
        ) from error
