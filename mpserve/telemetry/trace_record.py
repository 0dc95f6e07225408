"""What a trace records of a request, as records of Triton's file. Source: triton.md 6.3."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from mpserve.model.request import Bytes
from mpserve.model.tensor import Datatype
from mpserve.telemetry.trace_file import Record

REQUEST_START: Final = "REQUEST_START"
QUEUE_START: Final = "QUEUE_START"
COMPUTE_START: Final = "COMPUTE_START"
COMPUTE_INPUT_END: Final = "COMPUTE_INPUT_END"
COMPUTE_OUTPUT_START: Final = "COMPUTE_OUTPUT_START"
COMPUTE_END: Final = "COMPUTE_END"
RESPONSE_COMPLETE: Final = "INFER_RESPONSE_COMPLETE"
REQUEST_END: Final = "REQUEST_END"
QUEUE_INPUT: Final = "TENSOR_QUEUE_INPUT"
BACKEND_OUTPUT: Final = "TENSOR_BACKEND_OUTPUT"

_LENGTH_BYTES: Final = 4
_FORMS: Final[Mapping[str, Literal["B", "H", "I", "Q", "b", "h", "i", "q", "f", "d"]]] = {
    "BOOL": "B",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP32": "f",
    "FP64": "d",
}
"""How values lie in memory; of FP16 and BF16 the peer tells none."""


class TracedTensor(Protocol):
    """A tensor of a request or an answer."""

    @property
    def name(self) -> str: ...  # noqa: D102  the class says it
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def data(self) -> Bytes: ...  # noqa: D102


def identity_record(
    trace_id: int, *, model: str, version: str, request_id: str, parent_id: int
) -> Record:
    """Return what a trace is of."""
    record: dict[str, object] = {
        "id": trace_id,
        "model_name": model,
        "model_version": int(version) if version.isdecimal() else version,
    }
    if request_id:
        record["request_id"] = request_id
    if parent_id:
        record["parent_id"] = parent_id
    return record


def moment_record(trace_id: int, name: str, at_ns: int) -> Record:
    """Return when something happened, on the monotonic clock."""
    return {"id": trace_id, "timestamps": [{"name": name, "ns": at_ns}]}


def tensor_record(trace_id: int, activity: str, tensor: TracedTensor, datatype: str) -> Record:
    """Return a tensor with its values, as text."""
    return {
        "id": trace_id,
        "activity": activity,
        "tensor": {
            "name": tensor.name,
            "data": ",".join(_values(tensor, datatype)),
            "shape": ",".join(str(size) for size in tensor.shape),
            "dtype": datatype,
        },
    }


def _values(tensor: TracedTensor, datatype: str) -> Sequence[str]:
    data = memoryview(tensor.data).cast("B")
    if datatype == Datatype.BYTES.name:
        return [f'"{text}"' for text in _texts(data)]
    form = _FORMS.get(datatype)
    if form is None:
        return ()
    values = data.cast(form).tolist()
    return [f"{value:.6g}" for value in values] if form in "fd" else [str(one) for one in values]


def _texts(data: memoryview) -> Sequence[str]:
    texts = []
    at = 0
    while at + _LENGTH_BYTES <= len(data):
        end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
        texts.append(bytes(data[at + _LENGTH_BYTES : end]).decode(errors="replace"))
        at = end
    return texts
