"""What the spawner imports once, so that no worker pays for it.

Importing this module is all there is to do. It imports nothing that starts a thread or opens a
descriptor: what is here is shared by every worker that is forked.
"""

import asyncio
import json

import msgspec
import numpy as np

from mpserve.compat import triton_python_backend_utils
from mpserve.control.messages import FromWorker, ToWorker, WorkerStart
from mpserve.runtimes import python_backend
from mpserve.worker import loop

__all__ = [
    "asyncio",
    "json",
    "loop",
    "np",
    "python_backend",
    "triton_python_backend_utils",
]

# What decoders find out of a type stays with the type.
for _type in (WorkerStart, ToWorker, FromWorker):
    msgspec.msgpack.Decoder(_type)

# The first array binds NumPy's C functions to the native core.
triton_python_backend_utils.Tensor("preload", np.zeros(1, dtype=np.float32))
