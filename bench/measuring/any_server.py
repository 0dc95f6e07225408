"""A request for a model of any V2 server, made from what the server says of the model.

Used to load-test a server that somebody else has started: nothing is known of it but its address.
"""

import json
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from bench.errors import ServerFailed, UsageError
from bench.loading.payload import HEADER_LENGTH, SEED
from bench.loading.v2_client import HttpRequest, V2Client

NUMPY: Final = {
    "BOOL": np.bool_,
    **{
        f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
BYTES_ELEMENT: Final = "text"
HTTP_PORT: Final = 80


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens."""

    host: str
    port: int


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input as the model's metadata describe it, with a shape that has no open extent."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def parse_url(url: str) -> Address:
    """Read `http://HOST[:PORT]`.

    Raises
    ------
    UsageError
        It is another scheme, or has a path.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"}:
        raise UsageError(f"'{url}' is not of the form http://HOST:PORT")
    return Address(host=parts.hostname, port=parts.port or HTTP_PORT)


def parse_shapes(words: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Read `NAME=1,16` words.

    Raises
    ------
    UsageError
        A word has another form.
    """
    shapes = {}
    for word in words:
        name, _, text = word.partition("=")
        extents = text.split(",")
        if not name or not all(extent.strip().isdigit() for extent in extents):
            raise UsageError(f"'{word}' is not of the form NAME=1,16")
        shapes[name] = tuple(int(extent) for extent in extents)
    return shapes


def ask_inputs(
    client: V2Client, model: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Input, ...]:
    """Ask a server for a model's inputs; an open extent becomes 1 where `shapes` does not say.

    Raises
    ------
    ServerFailed
        The server does not know the model.
    UsageError
        `shapes` names an input that the model does not have.
    """
    path = f"/v2/models/{urllib.parse.quote(model)}"
    answer = client.send(HttpRequest(method="GET", path=path))
    if answer.status != 200:
        raise ServerFailed(f"GET {path} gave status {answer.status}: {answer.body[:300]!r}")
    described: list[dict[str, Any]] = json.loads(answer.body).get("inputs") or []
    unknown = set(shapes) - {one["name"] for one in described}
    if unknown:
        known = ", ".join(one["name"] for one in described)
        raise UsageError(f"model '{model}' has no input {sorted(unknown)}; it has: {known}")
    if not described:
        raise ServerFailed(f"the metadata of model '{model}' list no inputs")
    return tuple(
        Input(
            name=one["name"],
            datatype=one["datatype"],
            shape=shapes.get(one["name"])
            or tuple(1 if extent < 0 else extent for extent in one["shape"]),
        )
        for one in described
    )


def infer_request_for(model: str, inputs: tuple[Input, ...], *, binary: bool) -> HttpRequest:
    """Write an inference of `model` with random values, the same at each call.

    Raises
    ------
    UsageError
        A datatype has no values here (BF16), or BYTES is asked for in binary.
    """
    random = np.random.default_rng(SEED)
    tensors, raws = [], []
    for one in inputs:
        head: dict[str, Any] = {
            "name": one.name,
            "shape": list(one.shape),
            "datatype": one.datatype,
        }
        values = _values(one, random)
        if binary and values is not None:
            raws.append(values.tobytes())
            head["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            count = int(np.prod(one.shape))
            head["data"] = [BYTES_ELEMENT] * count if values is None else values.ravel().tolist()
        tensors.append(head)
    document: dict[str, Any] = {"inputs": tensors}
    headers = {"Content-Type": "application/json"}
    if raws:
        document["parameters"] = {"binary_data_output": True}
    header = msgspec.json.encode(document)
    if raws:
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return HttpRequest(
        method="POST",
        path=f"/v2/models/{urllib.parse.quote(model)}/infer",
        headers=headers,
        body=b"".join([header, *raws]),
    )


def _values(one: Input, random: np.random.Generator) -> "np.ndarray[Any, Any] | None":
    """Random values, small enough for each datatype; None for BYTES, which is text."""
    if one.datatype == "BYTES":
        return None
    if one.datatype not in NUMPY:
        raise UsageError(f"input '{one.name}' is {one.datatype}, for which no values can be made")
    return np.round(random.random(one.shape) * 100, 1).astype(NUMPY[one.datatype])
