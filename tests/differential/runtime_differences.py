"""Where custom runtimes answer otherwise than on MLServer 1.7.1, and why."""

from typing import Final

_VERSIONS: Final = "the version that is served is told"
_ONCE: Final = "an input's name means one tensor"
_PANDAS: Final = "the peer's codec does not know pandas 3's columns of texts"
_SAME_TEXT: Final = "models see texts alike over both wires; the peer's are bytes over gRPC"

_VERSIONED: Final = ("arguments", "detector", "texts")
_IMAGES: Final = ("a picture", "content", "content by its type", "pixels", "no base64")
_FRAMES: Final = ("a frame", "a frame that says so")
_TWICE: Final = ("pool", "weights")

DIFFERENCES: Final[dict[str, str]] = {
    **{f"/v2/models/{model}: metadata": _VERSIONS for model in _VERSIONED},
    **{f"gRPC metadata {model}": _VERSIONS for model in _VERSIONED},
    **{f"/v2/models/{model}/infer: two inputs": _ONCE for model in _TWICE},
    **{f"gRPC {model}: two inputs": _ONCE for model in _TWICE},
    **{f"/v2/models/frames/infer: {name}": _PANDAS for name in _FRAMES},
    **{f"gRPC frames: {name}": _PANDAS for name in _FRAMES},
    **{f"gRPC images: {name}": _SAME_TEXT for name in _IMAGES},
    "gRPC router: texts": _SAME_TEXT,
}
