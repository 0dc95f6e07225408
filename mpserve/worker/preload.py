"""What the spawner imports once, so that no worker pays for it.

Importing this module is all there is to do. It imports nothing that starts a thread or opens a
descriptor: what is here is shared by every worker that is forked.
"""

import asyncio
import json

import numpy as np
import threadpoolctl

from mpserve.compat import triton_python_backend_utils
from mpserve.runtimes import python_backend
from mpserve.worker import loop

__all__ = [
    "asyncio",
    "json",
    "loop",
    "np",
    "python_backend",
    "threadpoolctl",
    "triton_python_backend_utils",
]

# The first array binds NumPy's C functions to the native core.
triton_python_backend_utils.Tensor("preload", np.zeros(1, dtype=np.float32))
