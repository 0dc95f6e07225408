"""Triton's module for Python models, supplied by mpserve under Triton's name inside workers.

    import triton_python_backend_utils as pb_utils

The objects on the way of a request are native; what surrounds them are the modules beside this one.

Source: Triton's Python backend, `pb_utils`.
"""

import sys
from typing import Final

from mpserve._native import (
    InferenceRequest,
    InferenceResponse,
    InferenceResponseSender,
    InferenceTrace,
    Tensor,
    TritonError,
    TritonModelException,
    answers_all,
    answers_of_rows,
    get_input_tensor_by_name,
    get_output_tensor_by_name,
    is_rescheduled,
    sent_response,
)
from mpserve.compat import c_python_backend_utils
from mpserve.compat.triton_bls import (
    ResponseIterator,
    is_model_ready,
    load_model,
    unload_model,
)
from mpserve.compat.triton_datatypes import (
    TRITON_STRING_TO_NUMPY,
    deserialize_bytes_tensor,
    numpy_to_triton_type,
    serialize_byte_tensor,
    triton_string_to_numpy,
    triton_to_numpy_type,
)
from mpserve.compat.triton_logger import Logger, LogLevel
from mpserve.compat.triton_memory import (
    TRITONSERVER_MEMORY_CPU,
    TRITONSERVER_MEMORY_GPU,
    MemoryType,
    PreferredMemory,
)
from mpserve.compat.triton_metrics import Metric, MetricFamily
from mpserve.compat.triton_model_config import (
    ModelConfig,
    get_input_config_by_name,
    get_output_config_by_name,
    using_decoupled_model_transaction_policy,
)
from mpserve.compat.triton_place import get_model_dir

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START: Final = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END: Final = 2
TRITONSERVER_RESPONSE_COMPLETE_FINAL: Final = 1
TRITONSERVER_REQUEST_RELEASE_ALL: Final = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE: Final = 2

MODULE_NAME: Final = "triton_python_backend_utils"
NATIVE_NAME: Final = "c_python_backend_utils"

__all__ = [
    "TRITONSERVER_MEMORY_CPU",
    "TRITONSERVER_MEMORY_GPU",
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END",
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START",
    "TRITONSERVER_REQUEST_RELEASE_ALL",
    "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE",
    "TRITONSERVER_RESPONSE_COMPLETE_FINAL",
    "TRITON_STRING_TO_NUMPY",
    "InferenceRequest",
    "InferenceResponse",
    "InferenceResponseSender",
    "InferenceTrace",
    "LogLevel",
    "Logger",
    "MemoryType",
    "Metric",
    "MetricFamily",
    "ModelConfig",
    "PreferredMemory",
    "ResponseIterator",
    "Tensor",
    "TritonError",
    "TritonModelException",
    "answers_all",
    "answers_of_rows",
    "deserialize_bytes_tensor",
    "get_input_config_by_name",
    "get_input_tensor_by_name",
    "get_model_dir",
    "get_output_config_by_name",
    "get_output_tensor_by_name",
    "is_model_ready",
    "is_rescheduled",
    "load_model",
    "numpy_to_triton_type",
    "sent_response",
    "serialize_byte_tensor",
    "triton_string_to_numpy",
    "triton_to_numpy_type",
    "unload_model",
    "using_decoupled_model_transaction_policy",
]


def supply() -> None:
    """Let models of this process import this module, and its native part, by Triton's names."""
    sys.modules[MODULE_NAME] = sys.modules[__name__]
    sys.modules[NATIVE_NAME] = c_python_backend_utils
