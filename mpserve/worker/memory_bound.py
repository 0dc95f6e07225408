"""The memory that a worker may have: set before its model is loaded.

The kernel counts private writable memory (`RLIMIT_DATA`, Linux 4.7 and later): the interpreter, its
libraries and the model's arrays, but not the shared memory of tensors. An allocation past the limit
fails: Python raises `MemoryError`, which fails the load or the request; native code that can not
bear it ends this worker, and no other.
"""

import resource

_MIB = 1 << 20


def bound_memory(limit_mib: int) -> None:
    """Limit this process, and what it starts; 0 for no limit beyond the server's own."""
    if not limit_mib:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = limit_mib * _MIB
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
