"""Triton's native module for Python models, which `triton_python_backend_utils` is made of.

Models name its classes in annotations, or look how much shared memory is free.

Source: Triton's Python backend, `pb_stub.cc`.
"""

from mpserve._native import (
    InferenceRequest,
    InferenceResponse,
    InferenceResponseSender,
    InferenceTrace,
    Tensor,
    TritonError,
    TritonModelException,
)
from mpserve.compat.triton_bls import ResponseIterator, is_model_ready, load_model, unload_model
from mpserve.compat.triton_logger import Logger
from mpserve.compat.triton_memory import (
    TRITONSERVER_MEMORY_CPU,
    TRITONSERVER_MEMORY_GPU,
    MemoryType,
    PreferredMemory,
)
from mpserve.compat.triton_metrics import Metric, MetricFamily
from mpserve.shm.segment import free_bytes
from mpserve.telemetry.exposition import Kind as MetricKind

COUNTER = MetricKind.COUNTER
GAUGE = MetricKind.GAUGE
HISTOGRAM = MetricKind.HISTOGRAM

__all__ = [
    "COUNTER",
    "GAUGE",
    "HISTOGRAM",
    "TRITONSERVER_MEMORY_CPU",
    "TRITONSERVER_MEMORY_GPU",
    "InferenceRequest",
    "InferenceResponse",
    "InferenceResponseSender",
    "InferenceTrace",
    "Logger",
    "MemoryType",
    "Metric",
    "MetricFamily",
    "MetricKind",
    "PreferredMemory",
    "ResponseIterator",
    "SharedMemory",
    "Tensor",
    "TritonError",
    "TritonModelException",
    "is_model_ready",
    "load_model",
    "shared_memory",
    "unload_model",
]


class SharedMemory:
    """The machine's shared memory, out of which tensors get theirs."""

    def free_memory(self) -> int:
        """Return how many bytes are free."""
        return free_bytes()


shared_memory = SharedMemory()
