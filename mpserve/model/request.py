"""An inference request and the parts of it, as every wire codec delivers them.

Tensor data is in the wire's binary form: little-endian elements, row-major; `BYTES` elements as a
little-endian uint32 length and the bytes. Source: KServe V2 "Inference Request".
"""

from typing import Final, TypeAlias

import msgspec

from mpserve.model.region import RegionUse
from mpserve.model.tensor import Datatype

Bytes: TypeAlias = bytes | bytearray | memoryview

MAX_TENSORS: Final = 4096  # as many as a message in shared memory holds (message.hpp)
UNKNOWN_ID = "<id_unknown>"  # Triton's word in messages when the client gave no id


class InputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of a request.

    Attributes
    ----------
    shape
        Full shape, all dimensions at least 0.
    data
        Elements in the wire's binary form; empty when they lie in a `region`.
    parameters_json
        The tensor's own parameters as a JSON object, "" for none.
    region
        Where in the client's shared memory the elements lie.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: Bytes
    parameters_json: str = ""
    region: RegionUse | None = None

    @property
    def data_bytes(self) -> int:
        """Bytes that the elements have, wherever they lie."""
        return len(memoryview(self.data)) if self.region is None else self.region.byte_size


class RequestedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One output that the client named.

    Attributes
    ----------
    binary
        Wanted as binary data behind the JSON.
    classification
        Number of classes wanted instead of the values; 0 for the values.
    parameters_json
        The output's own parameters as a JSON object, "" for none.
    region
        Where in the client's shared memory it is wanted; `None` for in the answer.
    """

    name: str
    binary: bool = False
    classification: int = 0
    parameters_json: str = ""
    region: RegionUse | None = None


class SequenceMark(msgspec.Struct, frozen=True, kw_only=True):
    """Place of a request in a sequence of correlated requests.

    `number` is 0 and `text` is "" for a request that belongs to none.
    """

    number: int = 0
    text: str = ""
    starts: bool = False
    ends: bool = False


class InferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One inference, decoded and not yet checked against the model's signature.

    Attributes
    ----------
    id
        As the client gave it; `None` when it gave none.
    outputs
        Empty when all outputs are wanted.
    binary_by_default
        Outputs that are not listed are wanted as binary data.
    takes_many
        The client takes any number of answers, whether or not the model is decoupled.
    has_more_inputs
        Further requests follow, which the model takes as one stream with this one.
    is_handler_call
        No inference, but a request to a path of the model's own: its body is the only input, what
        else is to be known of it are the parameters.
    parameters_json
        Custom parameters as a JSON object, "" for none.
    priority
        0 for the model's default.
    timeout_us
        0 for none.
    deadline_ns
        When its client will wait no more, on the monotonic clock: it is not begun after that. 0 for
        never.
    headers
        What it came with, for a model that wants to see it: name, NUL, value, NUL each.
    trace_context
        The trace that it belongs to (`mpserve.model.trace_link`), "" for none.
    """

    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str | None = None
    sequence: SequenceMark = SequenceMark()
    priority: int = 0
    timeout_us: int = 0
    deadline_ns: int = 0
    binary_by_default: bool = False
    takes_many: bool = False
    has_more_inputs: bool = False
    is_handler_call: bool = False
    parameters_json: str = ""
    headers: bytes = b""
    trace_context: str = ""

    @property
    def prefix(self) -> str:
        """What messages about this request begin with."""
        return request_prefix(self.id)

    @property
    def regions(self) -> list[RegionUse]:
        """Pieces of the client's shared memory that it names."""
        regions = [tensor.region for tensor in self.inputs]
        regions += [output.region for output in self.outputs]
        return [one for one in regions if one is not None]

    def requested_output(self, name: str) -> RequestedOutput:
        """Return how output `name` is wanted, also when it was not listed."""
        for output in self.outputs:
            if output.name == name:
                return output
        return RequestedOutput(name=name, binary=self.binary_by_default)


def request_prefix(request_id: str | None) -> str:
    """Return what Triton puts before messages about a request with this id."""
    return f"[request id: {request_id or UNKNOWN_ID}] "


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as messages show it, e.g. `[-1,4]`."""
    return "[" + ",".join(map(str, shape)) + "]"
