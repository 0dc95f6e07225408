"""What is sent to a model, and what a right answer to it looks like, in each encoding of the V2
protocol.

Inputs are drawn once from a fixed seed. The small ones have one decimal, like measured features; a
server that prints FP32 4.1 as 4.099999904632568 pays for the longer text.
"""

import enum
import json
import struct
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from bench.errors import ServerFailed
from bench.loading.v2_client import HttpAnswer, HttpRequest

SEED: Final = 20_240_607
SEQUENCE_STEPS: Final = 8
HEADER_LENGTH: Final = "Inference-Header-Content-Length"


class Encoding(enum.Enum):
    """How tensors travel."""

    JSON = "json"
    BINARY = "binary"
    GRPC = "grpc"
    MOSEC = "mosec"  # {"data": [[…]]} both ways, as the programs in `peers/` define it
    LITSERVE = "litserve"
    NONE = "none"  # a request without a body


PLAIN_PATHS: Final = {Encoding.MOSEC: "/inference", Encoding.LITSERVE: "/predict"}


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """The one input of a benchmark model and the output it must give."""

    model: str
    input_name: str
    output_name: str
    datatype: str
    values: npt.NDArray[np.generic]  # shape (1, elements)
    expected: npt.NDArray[np.generic]


class Tensors(enum.Enum):
    """The inputs that scenarios send."""

    FLOATS_16 = "16 FP32"
    FLOATS_1_MIB = "1 MiB FP32"
    FLOATS_16_MIB = "16 MiB FP32"
    DIGIT = "one digit, 64 FP64"


class Floats(msgspec.Struct, frozen=True, kw_only=True):
    """An FP32 input of shape (rows, elements) for one of the float models."""

    elements: int
    rows: int = 1
    model: str = "simple"


def tensor(kind: Tensors | Floats) -> Tensor:
    """Make the input and the expected output of `kind`."""
    match kind:
        case Floats():
            values = np.round(_random(kind.rows * kind.elements) * 8, 1)
            shaped = values.reshape(kind.rows, kind.elements)
            expected = shaped if kind.model == "identity" else shaped + np.float32(1)
            return _float_tensor(kind.model, shaped, expected)
        case Tensors.FLOATS_16:
            values = np.round(_random(16) * 8, 1)
            return _float_tensor("simple", values, values + np.float32(1))
        case Tensors.FLOATS_1_MIB | Tensors.FLOATS_16_MIB:
            values = _random(1 << (18 if kind is Tensors.FLOATS_1_MIB else 22))
            return _float_tensor("identity", values, values)
        case Tensors.DIGIT:
            return Tensor(
                model="digits",
                input_name="predict",
                output_name="predict",
                datatype="FP64",
                values=np.array([DIGIT_ZERO], np.float64),
                expected=np.array([[0]], np.int64),
            )


def infer_request(sent: Tensor, encoding: Encoding) -> HttpRequest:
    """Write the HTTP request of one inference.

    Raises
    ------
    ValueError
        `encoding` is not one of HTTP's; gRPC bodies are made by `grpc_message`.
    """
    path = f"/v2/models/{sent.model}/infer"
    head: dict[str, object] = {
        "name": sent.input_name,
        "shape": list(sent.values.shape),
        "datatype": sent.datatype,
    }
    match encoding:
        case Encoding.JSON:
            body = _json({"inputs": [head | {"data": _numbers(sent.values)}]})
            return HttpRequest(
                method="POST", path=path, headers={"Content-Type": "application/json"}, body=body
            )
        case Encoding.BINARY:
            raw = sent.values.tobytes()
            head["parameters"] = {"binary_data_size": len(raw)}
            outputs = [{"name": sent.output_name, "parameters": {"binary_data": True}}]
            header = _json({"inputs": [head], "outputs": outputs})
            headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
            return HttpRequest(method="POST", path=path, headers=headers, body=header + raw)
        case Encoding.MOSEC | Encoding.LITSERVE:
            rows = [_numbers(row) for row in sent.values]
            return HttpRequest(
                method="POST",
                path=PLAIN_PATHS[encoding],
                headers={"Content-Type": "application/json"},
                body=_json({"data": rows}),
            )
        case _:
            raise ValueError(f"encoding {encoding.value} has no HTTP form")


def in_sequences(request: HttpRequest, *, sequences: int) -> HttpRequest:
    """Let a JSON request be one of many sequences of `SEQUENCE_STEPS` requests each.

    They take turns: the next request of a sequence comes when all others have sent theirs.
    """
    document = json.loads(request.body)
    turns = [
        _json(
            document
            | {
                "parameters": {
                    "sequence_id": sequence,
                    "sequence_start": step == 0,
                    "sequence_end": step == SEQUENCE_STEPS - 1,
                }
            }
        )
        for step in range(SEQUENCE_STEPS)
        for sequence in range(1, sequences + 1)
    ]
    return msgspec.structs.replace(request, body=turns[0], turns=tuple(turns))


def check_answer(sent: Tensor, answer: HttpAnswer, *, server: str) -> None:
    """Compare an answer with what the model must give.

    Raises
    ------
    ServerFailed
        Status, output name or values are wrong.
    """
    if answer.status != 200:
        raise ServerFailed(
            f"{server}: infer of '{sent.model}' gave status {answer.status}: {answer.body[:300]!r}"
        )
    got = _decode(sent, answer)
    if got.size != sent.expected.size or not np.allclose(got, sent.expected.ravel(), rtol=1e-5):
        wanted = sent.expected.ravel()[:8]
        raise ServerFailed(f"{server}: '{sent.model}' gave {got[:8]} …, expected {wanted} …")


def grpc_message(sent: Tensor) -> bytes:
    """Write one gRPC frame with a ModelInferRequest whose tensor is in `raw_input_contents`.

    Field numbers are those of the V2 `grpc_predict_v2.proto`: request 1 model_name, 5 inputs, 7
    raw_input_contents; tensor 1 name, 2 datatype, 3 shape.
    """
    shape = b"".join(_varint(extent) for extent in sent.values.shape)
    described = (
        _field(1, sent.input_name.encode()) + _field(2, sent.datatype.encode()) + _field(3, shape)
    )
    message = (
        _field(1, sent.model.encode()) + _field(5, described) + _field(7, sent.values.tobytes())
    )
    return struct.pack(">BI", 0, len(message)) + message


def _decode(sent: Tensor, answer: HttpAnswer) -> npt.NDArray[np.generic]:
    split = int(answer.headers.get(HEADER_LENGTH.lower(), len(answer.body)))
    document = json.loads(answer.body[:split])
    if "outputs" not in document:  # not the V2 protocol
        return np.asarray(document["data"], sent.expected.dtype).ravel()
    output = next(
        (one for one in document["outputs"] if one["name"] == sent.output_name),
        None,
    )
    if output is None:
        raise ServerFailed(f"the answer of '{sent.model}' has no output '{sent.output_name}'")
    if split < len(answer.body):
        return np.frombuffer(answer.body[split:], sent.expected.dtype)
    return np.asarray(output["data"], sent.expected.dtype).ravel()


def _float_tensor(
    model: str, values: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]
) -> Tensor:
    return Tensor(
        model=model,
        input_name="INPUT0",
        output_name="OUTPUT0",
        datatype="FP32",
        values=values if values.ndim > 1 else values.reshape(1, -1),
        expected=expected if expected.ndim > 1 else expected.reshape(1, -1),
    )


def _random(elements: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(SEED).random(elements, np.float32)


def _numbers(values: npt.NDArray[np.generic]) -> list[float]:
    """Shortest text that gives the same FP32 back: str() of the scalar, not of its widening to a
    Python float.
    """
    if values.dtype == np.float32:
        return [float(str(value)) for value in values.ravel()]
    return [float(value) for value in values.ravel()]


def _json(document: object) -> bytes:
    return msgspec.json.encode(document)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


# The first image of scikit-learn's digits data set (8 x 8, 0 to 16), which is a 0.
DIGIT_ZERO: Final = (
    *(0, 0, 5, 13, 9, 1, 0, 0),
    *(0, 0, 13, 15, 10, 15, 5, 0),
    *(0, 3, 15, 2, 0, 11, 8, 0),
    *(0, 4, 12, 0, 0, 8, 8, 0),
    *(0, 5, 8, 0, 0, 9, 8, 0),
    *(0, 4, 11, 0, 1, 12, 7, 0),
    *(0, 2, 14, 5, 10, 12, 0, 0),
    *(0, 0, 6, 13, 10, 0, 0, 0),
)
