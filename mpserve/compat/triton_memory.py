"""Where a model wants the answer of a request of its own: `pb_utils.PreferredMemory`."""

import enum
from typing import Final

import msgspec


class MemoryType(enum.IntEnum):
    """Triton's memory types; mpserve has CPU memory only."""

    TRITONSERVER_MEMORY_CPU = 0
    TRITONSERVER_MEMORY_GPU = 2


TRITONSERVER_MEMORY_CPU: Final = MemoryType.TRITONSERVER_MEMORY_CPU
TRITONSERVER_MEMORY_GPU: Final = MemoryType.TRITONSERVER_MEMORY_GPU


class PreferredMemory(msgspec.Struct, frozen=True):
    """A wish that is met by the CPU's memory, as on a Triton without GPUs."""

    preferred_memory_type: MemoryType
    preferred_device_id: int = 0
