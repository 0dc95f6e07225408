"""Where mpserve's metrics differ from the peers', and why: name of a family -> reason."""

from typing import Final

TRITON_DIFFERENCES: Final = {"nv_model_load_duration_secs": "Triton has it since 2.52"}

_CREATED: Final = "when a series began; Prometheus sees resets by itself"
_FAILED: Final = "failed calls and streams are calls that were handled"
_STREAMS: Final = "streams are started, too"
_MODELS: Final = (
    "series are those of models: also of one that nobody asked for, none of a name that no model "
    "has, and the peer has two names, None and nothing, for no version"
)

MLSERVER_DIFFERENCES: Final = {
    "grpc_server_handled_total": _FAILED,
    "grpc_server_started_total": _STREAMS,
    "model_infer_request_success_total": _MODELS,
    "model_infer_request_failure_total": _MODELS,
    "model_infer_request_duration": _MODELS,
    "parallel_request_queue": "this peer runs without parallel workers, which alone tell it",
    **{
        f"{name}_created": _CREATED
        for name in (
            "grpc_server_handled",
            "grpc_server_handling_seconds",
            "grpc_server_msg_received",
            "grpc_server_msg_sent",
            "grpc_server_started",
            "model_infer_request_duration",
            "model_infer_request_failure",
            "model_infer_request_success",
            "rest_server_request_duration_seconds",
            "rest_server_requests",
        )
    },
}
