"""Thread pools of OpenMP, ended so that the process can be forked.

Guarantees: what the calling thread's parallel regions have left waiting is gone soon after
    `end_pools`; the next region makes a pool anew, in this process as in its forks.
Assumes: the calling thread is in no parallel region. Pools of other threads stay.
Source: `omp_pause_resource_all` of OpenMP 5.0, section 3.2.44: GCC's libgomp since 9, LLVM's libomp
    and Intel's libiomp5 since 2019. A fork of a process with a pool of libgomp hangs in its next
    parallel region: the child waits for threads that it does not have.
"""

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Wheels bring copies of their own, with a digest in the name: several may be loaded at once.
_LIBRARY: Final = re.compile(
    r"\S+\s+\S+\s+\S+\s+\S+\s+[1-9]\d*\s+(/.*/lib(?:gomp|i?omp5?)\b[^/]*)$"
)
_PAUSE_HARD: Final = 2  # soft keeps what LLVM's library can use again


def end_pools() -> None:
    """End the waiting threads of each OpenMP library that is loaded.

    A library without the call, or whose pool can not be ended, keeps its threads: who forks counts
    them.
    """
    for path in openmp_libraries(Path("/proc/self/maps").read_text().splitlines()):
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            library.omp_pause_resource_all(_PAUSE_HARD)
        except (OSError, AttributeError):  # its file was replaced; older than OpenMP 5.0
            continue


def openmp_libraries(maps: list[str]) -> Iterator[str]:
    """Return the files of OpenMP libraries among lines of `/proc/<pid>/maps`, each once."""
    found = (_LIBRARY.match(line) for line in maps)
    yield from dict.fromkeys(one.group(1) for one in found if one)
