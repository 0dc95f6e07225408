"""Inferences over HTTP as Triton's clients write them, and how a refusal looks."""

import json

from tests.fixtures.server import Answer, Server

JSON, TEXT, OCTETS = "application/json", "text/plain", "application/octet-stream"


def tensor(**changes: object) -> dict:
    whole = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **changes}
    return {key: value for key, value in whole.items() if value is not None}


def body(*inputs: dict, **members: object) -> dict:
    return {"inputs": list(inputs) or [tensor()], **members}


def infer(server: Server, content: object, path: str = "m", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    return server.request("POST", f"/v2/models/{path}/infer", sent, names)


def binary(content: dict, *blobs: bytes) -> tuple[bytes, str]:
    head = json.dumps(content).encode()
    return head + b"".join(blobs), str(len(head))


def infer_binary(server: Server, content: dict, *blobs: bytes, path: str = "m") -> Answer:
    sent, length = binary(content, *blobs)
    return infer(server, sent, path, Inference_Header_Content_Length=length)


def split(answer: Answer) -> tuple[dict, bytes]:
    length = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.body[:length]), answer.body[length:]


def refused(answer: Answer, status: int, text: str, content_type: str = JSON) -> None:
    assert (answer.status, answer.json()) == (status, {"error": text})
    assert answer.headers["content-type"] == content_type
