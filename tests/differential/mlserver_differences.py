"""Where mpserve answers otherwise than MLServer 1.7.1, and why: name of a request -> reason."""

from typing import Final

_KSERVE: Final = "KServe's clients want the word in a body; the peer sends none"
_DOCUMENT: Final = "the schema is ours, valid OpenAPI 3.1; the peer's is its framework's"
_VERSIONS: Final = "the version that is served is told"
_FLAT: Final = "elements come back flat, as the protocol recommends"
_CHECKED: Final = "data must fit shape and datatype: tensors are arrays, not Python's lists"
_ONCE: Final = "an input's name means one tensor"
_NO_ID: Final = "an empty id is none"
_LENIENT: Final = "JSON is read whatever the client calls it, as curl sends it"
_SINGLE: Final = "FP32 has the precision of FP32; the peer passes Python's numbers through"
_CRASH: Final = (
    "the peer's code fails, with 500 and no reason; here it is served, or the reason told"
)
_FAULT: Final = (
    "the peer's code fails with an unexpected error; here the client's fault is told as such"
)
_NO_VERSION: Final = "the peer names the empty version that was not asked for"
_ENUM: Final = "the peer sends the name of Python's enumeration instead of the state"
_CONTENTS: Final = "the peer sets empty typed contents beside raw ones"
_SAME_TEXT: Final = "models see texts alike over both wires; the peer's are bytes over gRPC"
_AN_ID: Final = "models see an id over both wires; the peer's is empty over gRPC"
_NAMED: Final = "the name of the exception is told, too"
_NO_ANSWER: Final = "each request is answered; the peer passes over all but the first"
_REASON: Final = "the reason is told in the words of the log"

DIFFERENCES: Final[dict[str, str]] = {
    "GET /v2/health/live": _KSERVE,
    "GET /v2/health/ready": _KSERVE,
    "GET /openapi.json": _DOCUMENT,
    "GET /v2/models/versioned": _VERSIONS,
    "GET /v2/models/versioned/versions/v1": _VERSIONS,
    "infer at versioned": _VERSIONS,
    "infer at versioned/versions/v1": _VERSIONS,
    "gRPC ModelMetadata 'versioned' ''": _VERSIONS,
    "gRPC ModelMetadata 'versioned' 'v1'": _VERSIONS,
    "gRPC infer: a version": _VERSIONS,
    "input: nested": _FLAT,
    "input: too few": _CHECKED,
    "input: no elements": _CHECKED,
    "input: texts": _CHECKED,
    "input: an object": _CHECKED,
    "input: a number": _CHECKED,
    "input: a text": _CHECKED,
    "input: null data": _CHECKED,
    "input: negative dimension": _CHECKED,
    "BOOL 'x'": _CHECKED,
    "BYTES 1": _CHECKED,
    "gRPC infer: negative dimension": _CHECKED,
    "gRPC infer: neither": _CHECKED,
    "gRPC infer: an entry too many": _CHECKED,
    "input: same input twice": _ONCE,
    "infer: an empty id": _NO_ID,
    "infer: text/plain": _LENIENT,
    "infer: application/octet-stream": _LENIENT,
    "infer: nope": _LENIENT,
    "FP32 0.1": _SINGLE,
    "FP32 16777217": _SINGLE,
    "infer: no inputs": _CRASH,
    "texts: np of another shape": _CRASH,
    "binary: good": _CRASH,
    "binary: short": _CRASH,
    "binary: long": _CRASH,
    "binary: header of length too large": _CRASH,
    "infer_stream of texts: unknown model": _CRASH,
    "generate_stream of texts: unknown model": _CRASH,
    "sklearn: wrong width": _CRASH,
    "sklearn: output transform": _CRASH,
    "gRPC infer: datatype FP16": _CRASH,
    "stream no requests": _CRASH,
    "repository: load of what is broken": _REASON,
    "gRPC load of what is broken": _REASON,
    "gRPC infer: nothing": _REASON,
    "repository: a dot": "a name that leaves the repository is refused as such",
    "gRPC ModelReady 'echo' '1'": _FAULT,
    "gRPC ModelReady 'versioned' '9'": _FAULT,
    "gRPC ModelReady 'nobody' ''": _FAULT,
    "gRPC ModelReady '' ''": _FAULT,
    "gRPC infer: short": _FAULT,
    "gRPC infer: long": _FAULT,
    "gRPC infer: no such datatype": _FAULT,
    "gRPC infer: no datatype": _FAULT,
    "gRPC ModelMetadata 'nobody' ''": _NO_VERSION,
    "gRPC ModelMetadata '' ''": _NO_VERSION,
    "gRPC infer: unknown model": _NO_VERSION,
    "gRPC infer: no model": _NO_VERSION,
    "stream nobody": _NO_VERSION,
    "stream nothing": _NO_VERSION,
    "gRPC index, ready True": _ENUM,
    "gRPC index, ready False": _ENUM,
    "gRPC infer: raw": _CONTENTS,
    "gRPC infer: both": _CONTENTS,
    "stream echo": _CONTENTS,
    "stream raw at first": _CONTENTS,
    "stream without an id": _AN_ID,
    "stream raised in the middle": _NAMED,
    "stream raised at once": _NAMED,
    "stream ended at once": _CRASH,
    "stream strange in the middle": _FAULT,
    "stream strange at first": _FAULT,
    "stream several to who streams none": _NO_ANSWER,
    "gRPC infer: text": _SAME_TEXT,
}
