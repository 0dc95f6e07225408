"""Where mpserve answers otherwise than Triton 2.51, and why: name of a request -> reason."""

from typing import Final

_NEWER: Final = "the text of Triton's newer source, which says what is wrong with the shape"
_TOLD: Final = "the peer passes over what it can not read; here it is told"
_EMPTY: Final = "empty tensors are served; the peer takes an empty batch for a batch of one"

DIFFERENCES: Final[dict[str, str]] = {
    "infer: empty batch": _EMPTY,
    "infer: one input too many": "the peer's list of missing inputs is broken when it is empty",
    "infer: huge shape": _NEWER,
    "gRPC infer: negative dimension": _NEWER,
    "infer: no object": "an input that is no object is told as such, not as one without data",
    "infer: parameters of another type": _TOLD,
    "gRPC infer: parameter mine {'uint64_param': 1}": "models get parameters of every kind",
    "binary: header of length a word": _TOLD,
    "binary: header of length empty": _TOLD,
    "unload of nobody: broken": _TOLD,
    'settings 10: {"trace_level": ["NOPE"]} to /v2/models/m/trace/setting': _TOLD,
    'settings 23: {"log_verbose_level": 1099511627776} to /v2/logging': _TOLD,
    'gRPC settings 8: {"trace_level": {"value": ["NOPE"]}} of \'m\'': _TOLD,
}
